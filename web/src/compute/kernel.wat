;; The kernel: matrix products forward and to the input, and tanh. kernel.ts explains the layout of the memory. All is IEEE 754
;; arithmetic in a fixed order, so that every engine gives the same bits.
;;
;; Every row in memory is padded with zeros to a multiple of 4 numbers, and every weight matrix to a multiple of 4 rows.
;; Addresses and strides are in bytes. A tile of 4 rows of W and 2 rows of x stays in registers; W is read once for all
;; rows of x. The order of each sum does not depend on the number of rows, so neither do the results.
(module
  (memory (export "memory") 1)

  ;; Returns the sums of four vectors: [sum a, sum b, sum c, sum d].
  (func $sums (param $a v128) (param $b v128) (param $c v128) (param $d v128) (result v128)
    (local $ab v128) (local $cd v128)
    (local.set $ab (f32x4.add
      (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $a) (local.get $b))
      (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $a) (local.get $b))))
    (local.set $cd (f32x4.add
      (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23 (local.get $c) (local.get $d))
      (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31 (local.get $c) (local.get $d))))
    (f32x4.add
      (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (local.get $ab) (local.get $cd))
      (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31 (local.get $ab) (local.get $cd))))

  ;; y = max(x W^T + b, slope (x W^T + b)) for 0 <= slope <= 1; slope 1 leaves it as it is.
  ;; A row of x is `pieces` stretches of `length` bytes, each `gap` bytes after the end of the one before.
  (func (export "linear")
    (param $x i32) (param $xStride i32) (param $count i32) (param $length i32) (param $pieces i32) (param $gap i32)
    (param $W i32) (param $outputs i32) (param $b i32) (param $y i32) (param $yStride i32) (param $slope f32)
    (local $width i32) (local $n i32) (local $piece i32) (local $end i32) (local $last i32)
    (local $p i32) (local $q i32) (local $w i32) (local $w2 i32) (local $out i32)
    (local $a0 v128) (local $a1 v128) (local $a2 v128) (local $a3 v128)
    (local $c0 v128) (local $c1 v128) (local $c2 v128) (local $c3 v128)
    (local $u v128) (local $v v128) (local $k v128)
    (local.set $width (i32.mul (local.get $length) (local.get $pieces)))
    (local.set $last (i32.add (local.get $W) (i32.mul (local.get $outputs) (local.get $width))))
    (loop $rows
      (local.set $n (i32.const 0))
      (loop $pairs
        (local.set $p (i32.add (local.get $x) (i32.mul (local.get $n) (local.get $xStride))))
        (local.set $w (local.get $W))
        (local.set $w2 (i32.add (local.get $W) (i32.shl (local.get $width) (i32.const 1))))
        (local.set $out (i32.add (local.get $y) (i32.mul (local.get $n) (local.get $yStride))))
        (local.set $piece (local.get $pieces))
        (local.set $a0 (v128.const f32x4 0 0 0 0))
        (local.set $a1 (local.get $a0))
        (local.set $a2 (local.get $a0))
        (local.set $a3 (local.get $a0))
        (if (i32.lt_u (i32.add (local.get $n) (i32.const 1)) (local.get $count))
          (then
            (local.set $q (i32.add (local.get $p) (local.get $xStride)))
            (local.set $c0 (local.get $a0))
            (local.set $c1 (local.get $a0))
            (local.set $c2 (local.get $a0))
            (local.set $c3 (local.get $a0))
            (loop $stretch
              (local.set $end (i32.add (local.get $p) (local.get $length)))
              (loop $columns
                (local.set $u (v128.load (local.get $p)))
                (local.set $v (v128.load (local.get $q)))
                (local.set $k (v128.load (local.get $w)))
                (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $u) (local.get $k))))
                (local.set $c0 (f32x4.add (local.get $c0) (f32x4.mul (local.get $v) (local.get $k))))
                (local.set $k (v128.load (i32.add (local.get $w) (local.get $width))))
                (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $u) (local.get $k))))
                (local.set $c1 (f32x4.add (local.get $c1) (f32x4.mul (local.get $v) (local.get $k))))
                (local.set $k (v128.load (local.get $w2)))
                (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $u) (local.get $k))))
                (local.set $c2 (f32x4.add (local.get $c2) (f32x4.mul (local.get $v) (local.get $k))))
                (local.set $k (v128.load (i32.add (local.get $w2) (local.get $width))))
                (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $u) (local.get $k))))
                (local.set $c3 (f32x4.add (local.get $c3) (f32x4.mul (local.get $v) (local.get $k))))
                (local.set $q (i32.add (local.get $q) (i32.const 16)))
                (local.set $w (i32.add (local.get $w) (i32.const 16)))
                (local.set $w2 (i32.add (local.get $w2) (i32.const 16)))
                (br_if $columns
                  (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 16))) (local.get $end))))
              (local.set $p (i32.add (local.get $p) (local.get $gap)))
              (local.set $q (i32.add (local.get $q) (local.get $gap)))
              (br_if $stretch (local.tee $piece (i32.sub (local.get $piece) (i32.const 1)))))
            (local.set $c0 (f32x4.add (v128.load (local.get $b))
              (call $sums (local.get $c0) (local.get $c1) (local.get $c2) (local.get $c3))))
            (v128.store (i32.add (local.get $out) (local.get $yStride))
              (f32x4.max (local.get $c0) (f32x4.mul (local.get $c0) (f32x4.splat (local.get $slope))))))
          (else
            (loop $stretch
              (local.set $end (i32.add (local.get $p) (local.get $length)))
              (loop $columns
                (local.set $u (v128.load (local.get $p)))
                (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $u)
                  (v128.load (local.get $w)))))
                (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $u)
                  (v128.load (i32.add (local.get $w) (local.get $width))))))
                (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $u)
                  (v128.load (local.get $w2)))))
                (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $u)
                  (v128.load (i32.add (local.get $w2) (local.get $width))))))
                (local.set $w (i32.add (local.get $w) (i32.const 16)))
                (local.set $w2 (i32.add (local.get $w2) (i32.const 16)))
                (br_if $columns
                  (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 16))) (local.get $end))))
              (local.set $p (i32.add (local.get $p) (local.get $gap)))
              (br_if $stretch (local.tee $piece (i32.sub (local.get $piece) (i32.const 1)))))))
        (local.set $a0 (f32x4.add (v128.load (local.get $b))
          (call $sums (local.get $a0) (local.get $a1) (local.get $a2) (local.get $a3))))
        (v128.store (local.get $out)
          (f32x4.max (local.get $a0) (f32x4.mul (local.get $a0) (f32x4.splat (local.get $slope)))))
        (br_if $pairs
          (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 2))) (local.get $count))))
      (local.set $b (i32.add (local.get $b) (i32.const 16)))
      (local.set $y (i32.add (local.get $y) (i32.const 16)))
      (br_if $rows (i32.lt_u
        (local.tee $W (i32.add (local.get $W) (i32.shl (local.get $width) (i32.const 2))))
        (local.get $last)))))

  ;; dx += dy W: adds 4 rows of W at a time, times their numbers of dy.
  (func (export "transposed")
    (param $dy i32) (param $dyStride i32) (param $count i32)
    (param $W i32) (param $outputs i32) (param $width i32) (param $dx i32) (param $dxStride i32)
    (local $n i32) (local $last i32) (local $end i32) (local $p i32) (local $w i32) (local $w2 i32) (local $g i32)
    (local $g0 v128) (local $g1 v128) (local $g2 v128) (local $g3 v128)
    (local.set $last (i32.add (local.get $W) (i32.mul (local.get $outputs) (local.get $width))))
    (loop $rows
      (local.set $n (i32.const 0))
      (loop $samples
        (local.set $g (i32.add (local.get $dy) (i32.mul (local.get $n) (local.get $dyStride))))
        (local.set $g0 (v128.load32_splat (local.get $g)))
        (local.set $g1 (v128.load32_splat offset=4 (local.get $g)))
        (local.set $g2 (v128.load32_splat offset=8 (local.get $g)))
        (local.set $g3 (v128.load32_splat offset=12 (local.get $g)))
        (local.set $p (i32.add (local.get $dx) (i32.mul (local.get $n) (local.get $dxStride))))
        (local.set $end (i32.add (local.get $p) (local.get $width)))
        (local.set $w (local.get $W))
        (local.set $w2 (i32.add (local.get $W) (i32.shl (local.get $width) (i32.const 1))))
        (loop $columns
          (v128.store (local.get $p) (f32x4.add (v128.load (local.get $p))
            (f32x4.add
              (f32x4.add
                (f32x4.mul (local.get $g0) (v128.load (local.get $w)))
                (f32x4.mul (local.get $g1) (v128.load (i32.add (local.get $w) (local.get $width)))))
              (f32x4.add
                (f32x4.mul (local.get $g2) (v128.load (local.get $w2)))
                (f32x4.mul (local.get $g3) (v128.load (i32.add (local.get $w2) (local.get $width))))))))
          (local.set $w (i32.add (local.get $w) (i32.const 16)))
          (local.set $w2 (i32.add (local.get $w2) (i32.const 16)))
          (br_if $columns
            (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 16))) (local.get $end))))
        (br_if $samples
          (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get $count))))
      (local.set $dy (i32.add (local.get $dy) (i32.const 16)))
      (br_if $rows (i32.lt_u
        (local.tee $W (i32.add (local.get $W) (i32.shl (local.get $width) (i32.const 2))))
        (local.get $last)))))

  ;; exp(x) = 2^k exp(r), k = round(x / ln 2), |r| <= ln 2 / 2; a Taylor polynomial to r^7. x is kept within ±87.
  (func $exp (param $x v128) (result v128)
    (local $k v128) (local $r v128)
    (local.set $x (f32x4.min (f32x4.max (local.get $x) (v128.const f32x4 -87 -87 -87 -87)) (v128.const f32x4 87 87 87 87)))
    (local.set $k (f32x4.nearest (f32x4.mul (local.get $x)
      (v128.const f32x4 1.4426950408889634 1.4426950408889634 1.4426950408889634 1.4426950408889634))))
    (local.set $r (f32x4.sub (local.get $x) (f32x4.mul (local.get $k) (v128.const f32x4 0.693359375 0.693359375 0.693359375 0.693359375))))
    (local.set $r (f32x4.add (local.get $r) (f32x4.mul (local.get $k)
      (v128.const f32x4 2.12194440e-4 2.12194440e-4 2.12194440e-4 2.12194440e-4))))
    (f32x4.mul
      (f32x4.add (v128.const f32x4 1 1 1 1) (f32x4.mul (local.get $r)
      (f32x4.add (v128.const f32x4 1 1 1 1) (f32x4.mul (local.get $r)
      (f32x4.add (v128.const f32x4 0.5 0.5 0.5 0.5) (f32x4.mul (local.get $r)
      (f32x4.add (v128.const f32x4 0.16666667 0.16666667 0.16666667 0.16666667) (f32x4.mul (local.get $r)
      (f32x4.add (v128.const f32x4 0.041666668 0.041666668 0.041666668 0.041666668) (f32x4.mul (local.get $r)
      (f32x4.add (v128.const f32x4 0.008333334 0.008333334 0.008333334 0.008333334) (f32x4.mul (local.get $r)
      (f32x4.add (v128.const f32x4 0.0013888889 0.0013888889 0.0013888889 0.0013888889) (f32x4.mul (local.get $r)
        (v128.const f32x4 0.0001984127 0.0001984127 0.0001984127 0.0001984127)))))))))))))))
      (i32x4.shl (i32x4.add (i32x4.trunc_sat_f32x4_s (local.get $k)) (i32x4.splat (i32.const 127))) (i32.const 23))))

  ;; tanh(x): near 0 x times a continued fraction in x^2, else sign(x) (1 - 2 / (exp(2|x|) + 1)).
  (func $tanh (param $x v128) (result v128)
    (local $s v128) (local $far v128)
    (local.set $s (f32x4.mul (local.get $x) (local.get $x)))
    (local.set $far (f32x4.sub (v128.const f32x4 1 1 1 1) (f32x4.div (v128.const f32x4 2 2 2 2)
      (f32x4.add (v128.const f32x4 1 1 1 1) (call $exp
        (f32x4.mul (v128.const f32x4 2 2 2 2) (f32x4.min (f32x4.abs (local.get $x)) (v128.const f32x4 40 40 40 40))))))))
    (v128.bitselect
      (f32x4.div
        (f32x4.mul (local.get $x) (f32x4.add (v128.const f32x4 945 945 945 945) (f32x4.mul (local.get $s)
          (f32x4.add (v128.const f32x4 105 105 105 105) (local.get $s)))))
        (f32x4.add (v128.const f32x4 945 945 945 945) (f32x4.mul (local.get $s)
          (f32x4.add (v128.const f32x4 420 420 420 420) (f32x4.mul (local.get $s) (v128.const f32x4 15 15 15 15))))))
      (v128.or (local.get $far) (v128.and (local.get $x) (v128.const i32x4 0x80000000 0x80000000 0x80000000 0x80000000)))
      (f32x4.lt (f32x4.abs (local.get $x)) (v128.const f32x4 0.6 0.6 0.6 0.6))))

  ;; Replaces the numbers of whole rows, `end` exclusive, by their tanh.
  (func (export "tanh") (param $p i32) (param $end i32)
    (loop $columns
      (v128.store (local.get $p) (call $tanh (v128.load (local.get $p))))
      (br_if $columns (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 16))) (local.get $end))))))
