#![allow(unsafe_code)]
use std::time::Instant;
fn main() {
    let k = 576;
    for (n, out) in [
        (8usize, 1536usize),
        (32, 1536),
        (128, 512),
        (128, 1024),
        (512, 576),
        (512, 1536),
        (2048, 576),
        (2048, 1536),
        (85, 49152),
    ] {
        let x = vec![0.5f32; n * k];
        let w = vec![0.25f32; out * k];
        let mut y = vec![0f32; n * out];
        for par in [gemm::Parallelism::None, gemm::Parallelism::Rayon(0)] {
            let mut best = f64::MAX;
            let mut bb = f64::MAX;
            for _ in 0..6 {
                let t = Instant::now();
                unsafe {
                    gemm::gemm(
                        n,
                        out,
                        k,
                        y.as_mut_ptr(),
                        1,
                        out as isize,
                        false,
                        x.as_ptr(),
                        1,
                        k as isize,
                        w.as_ptr(),
                        k as isize,
                        1,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        par,
                    )
                };
                best = best.min(t.elapsed().as_secs_f64());
                let mut dx = vec![0f32; n * k];
                let t = Instant::now();
                unsafe {
                    gemm::gemm(
                        n,
                        k,
                        out,
                        dx.as_mut_ptr(),
                        1,
                        k as isize,
                        false,
                        y.as_ptr(),
                        1,
                        out as isize,
                        w.as_ptr(),
                        1,
                        k as isize,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        par,
                    )
                };
                bb = bb.min(t.elapsed().as_secs_f64());
            }
            let f = 2.0 * (n * out * k) as f64 / 1e9;
            println!(
                "{n}x{out} {par:?}: fwd {:.1} bwd {:.1} GF/s",
                f / best,
                f / bb
            );
        }
    }
}
