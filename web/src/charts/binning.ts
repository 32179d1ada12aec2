/** Decimation of values over more columns than pixels. */

/** What a pixel shows of several values: the one farthest from the mean of its row, so that no short event vanishes. */
export type Binning = "extreme" | "mean";

/** Returns the mean of each row over all columns of values [columns, rows]. */
export function rowMeans(values: Float64Array, columns: number, rows: number): Float64Array {
  const means = new Float64Array(rows);
  for (let column = 0; column < columns; column++)
    for (let row = 0; row < rows; row++) means[row] += values[column * rows + row];
  for (let row = 0; row < rows; row++) means[row] /= columns;
  return means;
}

/** Returns values [columns, rows] decimated to [bins, rows], fewer columns. */
export function binColumns(values: Float64Array, columns: number, rows: number, bins: number, binning: Binning) {
  if (bins >= columns) return values;
  const binned = new Float64Array(bins * rows);
  const means = rowMeans(values, columns, rows);
  for (let bin = 0; bin < bins; bin++) {
    const [begin, end] = [Math.floor((bin * columns) / bins), Math.floor(((bin + 1) * columns) / bins)];
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      let extreme = values[begin * rows + row];
      for (let column = begin; column < end; column++) {
        const value = values[column * rows + row];
        sum += value;
        if (Math.abs(value - means[row]) > Math.abs(extreme - means[row])) extreme = value;
      }
      binned[bin * rows + row] = binning === "mean" ? sum / (end - begin) : extreme;
    }
  }
  return binned;
}
