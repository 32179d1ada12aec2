/**
 * The kernel, in AssemblyScript: matrix products, and what is done number by number, in single precision with SIMD.
 *
 * All is IEEE 754 arithmetic in a fixed order, so that every engine gives the same bits. Addresses and strides are in bytes.
 * Activations are [features, batch], rows of a multiple of 8 numbers; all ranges are multiples of 16 bytes.
 */
export { exp, log, sigmoid, softplus, tanh } from "./functions";
export * from "./gan";
export * from "./cells";
export { broadcast, product, rowSums, scale, squares, transpose } from "./matrices";
export * from "./optimizers";
