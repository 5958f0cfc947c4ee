//! [`Lanes`] of AVX-512 and of AVX2 with FMA.

use crate::simd::Lanes;
use half::bf16;
use std::arch::x86_64::*;

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// Four rows of 16 lanes, transposed within each 128-bit quarter: in quarter l, vector c holds
/// column 4·l + c of the rows.
#[inline(always)]
unsafe fn four_rows_512(from: *const f32, stride: usize) -> [__m512; 4] {
    unsafe {
        let (a, b) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(stride)));
        let (x, y) = (
            _mm512_loadu_ps(from.add(2 * stride)),
            _mm512_loadu_ps(from.add(3 * stride)),
        );
        let ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
        let xy = _mm512_castps_pd(_mm512_unpacklo_ps(x, y));
        let high_ab = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
        let high_xy = _mm512_castps_pd(_mm512_unpackhi_ps(x, y));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab, xy)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab, xy)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(high_ab, high_xy)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(high_ab, high_xy)),
        ]
    }
}

/// Four rows of 8 lanes, transposed within each 128-bit half: in half l, vector c holds column
/// 4·l + c of the rows.
#[inline(always)]
unsafe fn four_rows_256(from: *const f32, stride: usize) -> [__m256; 4] {
    unsafe {
        let (a, b) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(stride)));
        let (x, y) = (
            _mm256_loadu_ps(from.add(2 * stride)),
            _mm256_loadu_ps(from.add(3 * stride)),
        );
        let ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
        let xy = _mm256_castps_pd(_mm256_unpacklo_ps(x, y));
        let high_ab = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
        let high_xy = _mm256_castps_pd(_mm256_unpackhi_ps(x, y));
        [
            _mm256_castpd_ps(_mm256_unpacklo_pd(ab, xy)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(ab, xy)),
            _mm256_castpd_ps(_mm256_unpacklo_pd(high_ab, high_xy)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(high_ab, high_xy)),
        ]
    }
}

// SAFETY: used only where AVX-512 was detected.
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
        // full vectors until one is left: 256-bit instructions without AVX-512VL reach only half of
        // the registers
        let [a, b, c, d] = four;
        unsafe {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
            let high = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
            let quarters = _mm512_add_ps(low, high);
            let swapped = _mm512_shuffle_f32x4::<0b01_00_11_10>(quarters, quarters);
            let pairs = _mm512_add_ps(quarters, swapped);
            let swapped = _mm512_shuffle_f32x4::<0b10_11_00_01>(pairs, pairs);
            let mut sums = [0.0; 4];
            let sum = _mm512_castps512_ps128(_mm512_add_ps(pairs, swapped));
            _mm_storeu_ps(sums.as_mut_ptr(), sum);
            sums
        }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe { _mm512_reduce_max_ps(self) }
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const bf16) -> Self {
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> Self {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, width: usize) {
        unsafe {
            let groups = [
                four_rows_512(from, stride),
                four_rows_512(from.add(4 * stride), stride),
                four_rows_512(from.add(8 * stride), stride),
                four_rows_512(from.add(12 * stride), stride),
            ];
            for c in 0..4 {
                let (a, b, x, y) = (groups[0][c], groups[1][c], groups[2][c], groups[3][c]);
                let even = (
                    _mm512_shuffle_f32x4::<0x88>(a, b),
                    _mm512_shuffle_f32x4::<0x88>(x, y),
                );
                let odd = (
                    _mm512_shuffle_f32x4::<0xdd>(a, b),
                    _mm512_shuffle_f32x4::<0xdd>(x, y),
                );
                let columns = [
                    _mm512_shuffle_f32x4::<0x88>(even.0, even.1),
                    _mm512_shuffle_f32x4::<0x88>(odd.0, odd.1),
                    _mm512_shuffle_f32x4::<0xdd>(even.0, even.1),
                    _mm512_shuffle_f32x4::<0xdd>(odd.0, odd.1),
                ];
                for l in 0..4 {
                    columns[l].store(to.add((4 * l + c) * width));
                }
            }
        }
    }
}

// SAFETY: used only where AVX2 and FMA were detected.
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
    #[inline(always)]
    unsafe fn load_bf16(at: *const bf16) -> Self {
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> Self {
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, width: usize) {
        unsafe {
            let upper = four_rows_256(from, stride);
            let lower = four_rows_256(from.add(4 * stride), stride);
            for c in 0..4 {
                let near = _mm256_permute2f128_ps::<0x20>(upper[c], lower[c]);
                let far = _mm256_permute2f128_ps::<0x31>(upper[c], lower[c]);
                near.store(to.add(c * width));
                far.store(to.add((4 + c) * width));
            }
        }
    }
}
