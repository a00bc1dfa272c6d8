use std::time::Instant;
fn main() {
    for kb in [16usize, 64, 256, 512, 1024, 1536, 2048, 4096, 8192, 16384, 65536, 262144] {
        let n = kb * 1024 / 64;
        let mut v = vec![[0usize; 8]; n];
        // random cycle
        let mut idx: Vec<usize> = (0..n).collect();
        let mut s = 88172645463325252u64;
        for i in (1..n).rev() {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            let j = (s % (i as u64)) as usize;
            idx.swap(i, j);
        }
        for i in 0..n {
            v[idx[i]][0] = idx[(i + 1) % n];
        }
        let mut p = 0;
        let steps = 4_000_000;
        for _ in 0..n.min(1000000) {
            p = v[p][0];
        }
        let t = Instant::now();
        for _ in 0..steps {
            p = v[p][0];
        }
        let e = t.elapsed().as_nanos() as f64 / steps as f64;
        println!("{kb} KB: {e:.1} ns {}", p & 1);
    }
}
