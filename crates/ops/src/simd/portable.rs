//! [`Lanes`] of plain floats, for every machine; the compiler vectorises them for its target.

use crate::simd::Lanes;
use half::bf16;

// SAFETY: eight plain floats need no instruction set.
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
    #[inline(always)]
    unsafe fn load_bf16(at: *const bf16) -> Self {
        unsafe { at.cast::<[bf16; 8]>().read_unaligned() }.map(bf16::to_f32)
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> Self {
        unsafe { at.cast::<[i8; 8]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, width: usize) {
        for i in 0..8 {
            for j in 0..8 {
                unsafe { *to.add(j * width + i) = *from.add(i * stride + j) };
            }
        }
    }
}
