//! Vectors of pairs of 16-bit integers, one type per instruction set. All give the same integers.

use crate::level::Level;
use crate::quantised_blocks::f16_at;
use crate::simd::Lanes;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::sync::LazyLock;

/// `F::N` pairs of 16-bit integers, or as many sums of 32 bits.
///
/// # Safety
/// As [`Lanes`], inside a function made by [`dispatch_pairs!`].
pub(super) unsafe trait Pairs: Copy {
    type F: Lanes;
    unsafe fn zero() -> Self;
    unsafe fn load(at: *const i32) -> Self;
    unsafe fn store(self, at: *mut i32);
    /// `2 * F::N` integers of 8 bits.
    unsafe fn load_i8(at: *const i8) -> Self;
    /// The lower halves of 16 bytes, then the upper halves, less `zero`: from the beginning, or
    /// from the 16th integer on where not all fit a vector.
    unsafe fn load_i4(at: *const u8, upper: bool, zero: i8) -> Self;
    /// A number of f16, little endian, in every lane.
    unsafe fn splat_f16(at: *const u8) -> Self::F;
    unsafe fn splat(pair: i32) -> Self;
    /// `self` + the sums of the products of two pairs.
    unsafe fn dot(self, a: Self, b: Self) -> Self;
    unsafe fn to_f32(self) -> Self::F;
    /// The larger of `self` and the bits of |x|: they are ordered as the numbers are, NaN above
    /// all.
    unsafe fn largest_bits(self, x: Self::F) -> Self;
    /// The largest lane, none negative.
    unsafe fn largest(self) -> i32;
    /// Rounds to integers of 16 bits, ties to even. NaN gives any integer.
    unsafe fn narrow(x: Self::F, to: *mut i16);
    /// Rounds as [`Self::narrow`] to pairs.
    unsafe fn pair(low: Self::F, high: Self::F) -> Self;
}

/// Whether the vectors are those of AVX-512 VNNI.
pub(super) static HAS_VNNI: LazyLock<bool> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has && Level::current() == Level::Avx512
});

/// Lanes of a vector in this process.
pub(super) fn lanes() -> usize {
    if *HAS_VNNI { 16 } else { 8 }
}

/// As `simd::dispatch!`, for kernels over [`Pairs`].
macro_rules! dispatch_pairs {
    (unsafe fn $name:ident = $kernel:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        unsafe fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vnni,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                unsafe { $kernel::<std::arch::x86_64::__m512i>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                unsafe { $kernel::<std::arch::x86_64::__m256i>($($arg),*) }
            }
            // SAFETY: each form runs only where its instructions were detected.
            match crate::level::Level::current() {
                #[cfg(target_arch = "x86_64")]
                _ if *$crate::int16::pairs::HAS_VNNI => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                crate::level::Level::Avx512 | crate::level::Level::Avx2 => unsafe {
                    avx2($($arg),*)
                },
                _ => unsafe { $kernel::<[i32; 8]>($($arg),*) },
            }
        }
    };
}
pub(super) use dispatch_pairs;

/// `_mm512_dpwssd_epi32`, of which LLVM makes two instructions unless it tunes for a named CPU.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn add_products(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: registers only.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {sum}, {a}, {b}",
            sum = inout(zmm_reg) sum,
            a = in(zmm_reg) a,
            b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

#[cfg(target_arch = "x86_64")]
// SAFETY: used only where AVX-512 F, BW and VNNI were detected.
unsafe impl Pairs for __m512i {
    type F = __m512;
    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load(at: *const i32) -> Self {
        unsafe { _mm512_loadu_si512(at.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut i32) {
        unsafe { _mm512_storeu_si512(at.cast(), self) }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> Self {
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(at.cast())) }
    }
    #[inline(always)]
    unsafe fn load_i4(at: *const u8, _: bool, zero: i8) -> Self {
        unsafe {
            let (bytes, mask) = (_mm_loadu_si128(at.cast()), _mm256_set1_epi8(15));
            let halves = _mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes);
            let numbers = _mm256_and_si256(halves, mask);
            _mm512_cvtepi8_epi16(_mm256_sub_epi8(numbers, _mm256_set1_epi8(zero)))
        }
    }
    #[inline(always)]
    unsafe fn splat_f16(at: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_set1_epi16(at.cast::<i16>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn splat(pair: i32) -> Self {
        unsafe { _mm512_set1_epi32(pair) }
    }
    #[inline(always)]
    unsafe fn dot(self, a: Self, b: Self) -> Self {
        unsafe { add_products(self, a, b) }
    }
    #[inline(always)]
    unsafe fn to_f32(self) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(self) }
    }
    #[inline(always)]
    unsafe fn largest_bits(self, x: __m512) -> Self {
        unsafe {
            let bits = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(i32::MAX));
            _mm512_max_epi32(self, bits)
        }
    }
    #[inline(always)]
    unsafe fn largest(self) -> i32 {
        unsafe { _mm512_reduce_max_epi32(self) }
    }
    #[inline(always)]
    unsafe fn narrow(x: __m512, to: *mut i16) {
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x))) }
    }
    #[inline(always)]
    unsafe fn pair(low: __m512, high: __m512) -> Self {
        unsafe {
            let low = _mm512_and_si512(_mm512_cvtps_epi32(low), _mm512_set1_epi32(0xffff));
            _mm512_or_si512(low, _mm512_slli_epi32::<16>(_mm512_cvtps_epi32(high)))
        }
    }
}

#[cfg(target_arch = "x86_64")]
// SAFETY: used only where AVX2 was detected.
unsafe impl Pairs for __m256i {
    type F = __m256;
    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load(at: *const i32) -> Self {
        unsafe { _mm256_loadu_si256(at.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut i32) {
        unsafe { _mm256_storeu_si256(at.cast(), self) }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> Self {
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(at.cast())) }
    }
    #[inline(always)]
    unsafe fn load_i4(at: *const u8, upper: bool, zero: i8) -> Self {
        unsafe {
            let bytes = _mm_loadu_si128(at.cast());
            let half = if upper {
                _mm_srli_epi16::<4>(bytes)
            } else {
                bytes
            };
            let numbers = _mm_and_si128(half, _mm_set1_epi8(15));
            _mm256_cvtepi8_epi16(_mm_sub_epi8(numbers, _mm_set1_epi8(zero)))
        }
    }
    #[inline(always)]
    unsafe fn splat_f16(at: *const u8) -> __m256 {
        let bits = unsafe { at.cast::<[u8; 2]>().read() };
        unsafe { _mm256_set1_ps(f16_at(&bits, 0)) }
    }
    #[inline(always)]
    unsafe fn splat(pair: i32) -> Self {
        unsafe { _mm256_set1_epi32(pair) }
    }
    #[inline(always)]
    unsafe fn dot(self, a: Self, b: Self) -> Self {
        unsafe { _mm256_add_epi32(self, _mm256_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn to_f32(self) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(self) }
    }
    #[inline(always)]
    unsafe fn largest_bits(self, x: __m256) -> Self {
        unsafe {
            let bits = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(i32::MAX));
            _mm256_max_epi32(self, bits)
        }
    }
    #[inline(always)]
    unsafe fn largest(self) -> i32 {
        let mut lanes = [0; 8];
        unsafe { self.store(lanes.as_mut_ptr()) };
        lanes.into_iter().max().unwrap_or(0)
    }
    #[inline(always)]
    unsafe fn narrow(x: __m256, to: *mut i16) {
        unsafe {
            let wide = _mm256_cvtps_epi32(x);
            let (low, high) = (
                _mm256_castsi256_si128(wide),
                _mm256_extracti128_si256::<1>(wide),
            );
            _mm_storeu_si128(to.cast(), _mm_packs_epi32(low, high));
        }
    }
    #[inline(always)]
    unsafe fn pair(low: __m256, high: __m256) -> Self {
        unsafe {
            let low = _mm256_and_si256(_mm256_cvtps_epi32(low), _mm256_set1_epi32(0xffff));
            _mm256_or_si256(low, _mm256_slli_epi32::<16>(_mm256_cvtps_epi32(high)))
        }
    }
}

// SAFETY: plain integers need no instruction set.
unsafe impl Pairs for [i32; 8] {
    type F = [f32; 8];
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0; 8]
    }
    #[inline(always)]
    unsafe fn load(at: *const i32) -> Self {
        unsafe { at.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut i32) {
        unsafe { at.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> Self {
        let all = unsafe { at.cast::<[i8; 16]>().read_unaligned() };
        let wide = |x: i8| i32::from(x);
        std::array::from_fn(|i| wide(all[2 * i]) & 0xffff | wide(all[2 * i + 1]) << 16)
    }
    #[inline(always)]
    unsafe fn load_i4(at: *const u8, upper: bool, zero: i8) -> Self {
        let bytes = unsafe { at.cast::<[u8; 16]>().read() };
        let shift = if upper { 4 } else { 0 };
        let number = |byte: u8| i32::from((byte >> shift & 15) as i8 - zero);
        std::array::from_fn(|i| number(bytes[2 * i]) & 0xffff | number(bytes[2 * i + 1]) << 16)
    }
    #[inline(always)]
    unsafe fn splat_f16(at: *const u8) -> [f32; 8] {
        let bits = unsafe { at.cast::<[u8; 2]>().read() };
        [f16_at(&bits, 0); 8]
    }
    #[inline(always)]
    unsafe fn splat(pair: i32) -> Self {
        [pair; 8]
    }
    #[inline(always)]
    unsafe fn dot(self, a: Self, b: Self) -> Self {
        let halves = |x: i32| (i32::from(x as i16), x >> 16);
        std::array::from_fn(|i| {
            let ((a, c), (b, d)) = (halves(a[i]), halves(b[i]));
            self[i].wrapping_add(a * b).wrapping_add(c * d)
        })
    }
    #[inline(always)]
    unsafe fn to_f32(self) -> [f32; 8] {
        self.map(|x| x as f32)
    }
    #[inline(always)]
    unsafe fn largest_bits(self, x: [f32; 8]) -> Self {
        std::array::from_fn(|i| self[i].max((x[i].to_bits() & i32::MAX as u32) as i32))
    }
    #[inline(always)]
    unsafe fn largest(self) -> i32 {
        self.into_iter().max().unwrap_or(0)
    }
    #[inline(always)]
    unsafe fn narrow(x: [f32; 8], to: *mut i16) {
        let rounded = x.map(|x| x.round_ties_even() as i16);
        unsafe { to.cast::<[i16; 8]>().write_unaligned(rounded) }
    }
    #[inline(always)]
    unsafe fn pair(low: [f32; 8], high: [f32; 8]) -> Self {
        let round = |x: f32| x.round_ties_even() as i32;
        std::array::from_fn(|i| round(low[i]) & 0xffff | round(high[i]) << 16)
    }
}
