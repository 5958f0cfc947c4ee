//! One vector type per instruction set, chosen at run time, so that one binary is fast on every
//! x86-64.
//!
//! A kernel is a generic `#[inline(always)]` function over [`Lanes`]; [`dispatch!`] compiles it for
//! each [`Level`](crate::Level) and calls the one of this process.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use half::bf16;

/// A vector of `N` f32 lanes.
///
/// # Safety
/// Call the methods only where the instruction set exists, that is, inside a function made by
/// [`dispatch!`]. Pointers must be valid for `N` elements.
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
    /// `2^self` for lanes that hold integers in -126..=127.
    unsafe fn pow2(self) -> Self;
    unsafe fn sum(self) -> f32;
    /// A hint that this memory is read soon; any address is valid.
    unsafe fn prefetch(at: *const f32);
    /// The sums of four vectors.
    unsafe fn sum4(four: [Self; 4]) -> [f32; 4];
    unsafe fn largest(self) -> f32;
    /// `N` numbers of bf16, exactly.
    unsafe fn load_bf16(at: *const bf16) -> Self;
    /// `N` integers.
    unsafe fn load_i8(at: *const i8) -> Self;
    /// `N` rows of `N` elements become columns: rows of `from` are `stride` apart, those of `to`
    /// are `width` apart.
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, width: usize);
}

/// `dispatch!(fn name = kernel(arg: Type, ...) -> Type)` defines `name`, which runs `kernel::<L>`
/// for this process's `L`.
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
            // SAFETY: each form runs only where its instructions were detected.
            match crate::level::Level::current() {
                #[cfg(target_arch = "x86_64")]
                crate::level::Level::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                crate::level::Level::Avx2 => unsafe { avx2($($arg),*) },
                _ => unsafe { $kernel::<[f32; 8]>($($arg),*) },
            }
        }
    };
}
pub(crate) use dispatch;

/// `e^x` to about 2 units in the last place, clamped to e^-87.33 and e^88.02. NaN stays NaN.
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

/// Writes lanes `at..at+N` of `data` that are in bounds.
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
