//! One vector type per instruction set, chosen at run time, so that one binary is fast on every x86-64.
//!
//! A kernel is a generic `#[inline(always)]` function over [`Lanes`]; [`dispatch!`] compiles it for AVX-512, for AVX2 with
//! FMA and for the portable case, and calls the best that this machine has.

use std::sync::LazyLock;

/// A vector of `N` f32 lanes.
///
/// # Safety
/// The methods may be called only where the instruction set exists, that is inside a function made by [`dispatch!`];
/// pointers must be good for `N` elements.
pub(crate) unsafe trait Lanes: Copy {
    const N: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(at: *const f32) -> Self;
    unsafe fn store(self, at: *mut f32);
    unsafe fn add(self, o: Self) -> Self;
    unsafe fn sub(self, o: Self) -> Self;
    unsafe fn mul(self, o: Self) -> Self;
    unsafe fn div(self, o: Self) -> Self;
    unsafe fn max(self, o: Self) -> Self;
    unsafe fn min(self, o: Self) -> Self;
    /// `self * b + c`
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// To the nearest integer, ties to even.
    unsafe fn round(self) -> Self;
    /// `2^self` for lanes that hold whole numbers in -126..=127.
    unsafe fn pow2(self) -> Self;
    unsafe fn sum(self) -> f32;
    /// A hint that this memory is read soon; any address will do.
    unsafe fn prefetch(at: *const f32);
    /// The sums of four vectors.
    unsafe fn sum4(four: [Self; 4]) -> [f32; 4];
    unsafe fn largest(self) -> f32;
}

/// The instruction sets that have a form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

pub(crate) static LEVEL: LazyLock<Level> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Portable
});

/// `dispatch!(fn name = kernel(arg: Type, ...) -> Type)` defines `name`, which runs `kernel::<L>` for this machine's `L`.
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident = $kernel:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                unsafe { $kernel::<std::arch::x86_64::__m512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                unsafe { $kernel::<std::arch::x86_64::__m256>($($arg),*) }
            }
            // SAFETY: each form runs only where `LEVEL` found its instructions.
            match *crate::simd::LEVEL {
                #[cfg(target_arch = "x86_64")]
                crate::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                crate::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                crate::simd::Level::Portable => unsafe { $kernel::<[f32; 8]>($($arg),*) },
            }
        }
    };
}
pub(crate) use dispatch;

/// `e^x` to about 2 units in the last place, held at e^-87.33 and e^88.02 beyond those. NaN stays NaN.
/// Cephes' polynomial after reduction by ln 2 in two parts.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L) -> L {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        // max and min return their second operand when one is NaN
        let x = L::splat(88.02).min(L::splat(-87.33).max(x));
        let n = x.mul(L::splat(std::f32::consts::LOG2_E)).round();
        let r = n.fma(L::splat(-0.693_359_4), x);
        let r = n.fma(L::splat(2.121_944_4e-4), r);
        let mut p = L::splat(1.987_569_1e-4);
        for c in [
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ] {
            p = p.fma(r, L::splat(c));
        }
        let e = p.fma(r.mul(r), r).add(L::splat(1.0));
        e.mul(n.pow2())
    }
}

/// Lanes `at..at+N` of `data`, with `fill` beyond its end.
#[inline(always)]
pub(crate) unsafe fn get<L: Lanes>(data: &[f32], at: usize, fill: f32) -> L {
    if data.len() >= at + L::N {
        // SAFETY: in bounds by the test.
        unsafe { L::load(data.as_ptr().add(at)) }
    } else {
        let mut lanes = [fill; 16];
        lanes[..data.len() - at].copy_from_slice(&data[at..]);
        // SAFETY: no instruction set here has more than 16 lanes.
        unsafe { L::load(lanes.as_ptr()) }
    }
}

/// Writes lanes `at..at+N` of `data`, as far as it goes.
#[inline(always)]
pub(crate) unsafe fn put<L: Lanes>(data: &mut [f32], at: usize, lanes: L) {
    if data.len() >= at + L::N {
        // SAFETY: in bounds by the test.
        unsafe { lanes.store(data.as_mut_ptr().add(at)) }
    } else {
        let mut all = [0.0; 16];
        // SAFETY: no instruction set here has more than 16 lanes.
        unsafe { lanes.store(all.as_mut_ptr()) }
        let left = data.len() - at;
        data[at..].copy_from_slice(&all[..left]);
    }
}

// SAFETY: eight plain floats; every machine has them.
unsafe impl Lanes for [f32; 8] {
    const N: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        unsafe { at.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        unsafe { at.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        std::array::from_fn(|i| self[i] + o[i])
    }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        std::array::from_fn(|i| self[i] - o[i])
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        std::array::from_fn(|i| self[i] * o[i])
    }
    #[inline(always)]
    unsafe fn div(self, o: Self) -> Self {
        std::array::from_fn(|i| self[i] / o[i])
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        std::array::from_fn(|i| if self[i] > o[i] { self[i] } else { o[i] })
    }
    #[inline(always)]
    unsafe fn min(self, o: Self) -> Self {
        std::array::from_fn(|i| if self[i] < o[i] { self[i] } else { o[i] })
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // adding 1.5 * 2^23 pushes the fraction out of the mantissa; good for |x| < 2^22
        const MAGIC: f32 = 12_582_912.0;
        std::array::from_fn(|i| (self[i] + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        std::array::from_fn(|i| f32::from_bits(((self[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    unsafe fn sum4(four: [Self; 4]) -> [f32; 4] {
        let [a, b, c, d] = four;
        // SAFETY: plain floats.
        unsafe { [Lanes::sum(a), Lanes::sum(b), Lanes::sum(c), Lanes::sum(d)] }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        self.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    /// The sum of the lower and the upper half.
    #[inline(always)]
    unsafe fn halves(x: __m512) -> __m256 {
        unsafe { _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x)) }
    }

    // SAFETY: used only where AVX-512 was found.
    unsafe impl Lanes for __m512 {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> Self {
            unsafe { _mm512_loadu_ps(at) }
        }
        #[inline(always)]
        unsafe fn store(self, at: *mut f32) {
            unsafe { _mm512_storeu_ps(at, self) }
        }
        #[inline(always)]
        unsafe fn add(self, o: Self) -> Self {
            unsafe { _mm512_add_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn sub(self, o: Self) -> Self {
            unsafe { _mm512_sub_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn mul(self, o: Self) -> Self {
            unsafe { _mm512_mul_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn div(self, o: Self) -> Self {
            unsafe { _mm512_div_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn max(self, o: Self) -> Self {
            unsafe { _mm512_max_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn min(self, o: Self) -> Self {
            unsafe { _mm512_min_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            unsafe { _mm512_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn round(self) -> Self {
            unsafe { _mm512_roundscale_ps::<NEAREST>(self) }
        }
        #[inline(always)]
        unsafe fn pow2(self) -> Self {
            unsafe {
                let n = _mm512_add_epi32(_mm512_cvtps_epi32(self), _mm512_set1_epi32(127));
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(n))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self) }
        }
        #[inline(always)]
        unsafe fn sum4(four: [Self; 4]) -> [f32; 4] {
            let [a, b, c, d] = four;
            unsafe { Lanes::sum4([halves(a), halves(b), halves(c), halves(d)]) }
        }
        #[inline(always)]
        unsafe fn largest(self) -> f32 {
            unsafe { _mm512_reduce_max_ps(self) }
        }
    }

    // SAFETY: used only where AVX2 and FMA were found.
    unsafe impl Lanes for __m256 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(at) }
        }
        #[inline(always)]
        unsafe fn store(self, at: *mut f32) {
            unsafe { _mm256_storeu_ps(at, self) }
        }
        #[inline(always)]
        unsafe fn add(self, o: Self) -> Self {
            unsafe { _mm256_add_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn sub(self, o: Self) -> Self {
            unsafe { _mm256_sub_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn mul(self, o: Self) -> Self {
            unsafe { _mm256_mul_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn div(self, o: Self) -> Self {
            unsafe { _mm256_div_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn max(self, o: Self) -> Self {
            unsafe { _mm256_max_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn min(self, o: Self) -> Self {
            unsafe { _mm256_min_ps(self, o) }
        }
        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            unsafe { _mm256_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn round(self) -> Self {
            unsafe { _mm256_round_ps::<NEAREST>(self) }
        }
        #[inline(always)]
        unsafe fn pow2(self) -> Self {
            unsafe {
                let n = _mm256_add_epi32(_mm256_cvtps_epi32(self), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(n))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            let mut at = [0.0; 8];
            unsafe {
                self.store(at.as_mut_ptr());
                Lanes::sum(at)
            }
        }
        #[inline(always)]
        unsafe fn sum4(four: [Self; 4]) -> [f32; 4] {
            let [a, b, c, d] = four;
            let mut out = [0.0; 4];
            unsafe {
                let pairs = (_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
                let all = _mm256_hadd_ps(pairs.0, pairs.1);
                let high = _mm256_extractf128_ps::<1>(all);
                _mm_storeu_ps(
                    out.as_mut_ptr(),
                    _mm_add_ps(_mm256_castps256_ps128(all), high),
                );
            }
            out
        }
        #[inline(always)]
        unsafe fn largest(self) -> f32 {
            let mut at = [0.0; 8];
            unsafe {
                self.store(at.as_mut_ptr());
                Lanes::largest(at)
            }
        }
    }
}
