/**
 * The interface of ndarray objects, written out so that this package's declarations do not need @types/ndarray: the two are assignable to
 * each other.
 */

/** Data that `fromNdarray` reads. */
export type NdarrayData =
  | Float32Array
  | Float64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint32Array
  | Uint16Array
  | Uint8Array
  | Uint8ClampedArray
  | readonly number[];

/** What `fromNdarray` needs of an ndarray: where its elements lie. */
export interface StridedData<Data = NdarrayData> {
  readonly data: Data;
  readonly shape: readonly number[];
  /** Elements between neighbours along each axis; may be negative or 0. */
  readonly stride: readonly number[];
  /** First element. */
  readonly offset: number;
}

/** ndarray's name of an array type. */
export type DataName<Data> = Data extends Float32Array
  ? "float32"
  : Data extends Int32Array
    ? "int32"
    : Data extends Int8Array
      ? "int8"
      : "uint8";

/** An ndarray, as `toNdarray` makes it. */
export interface Ndarray<Data extends Float32Array | Int32Array | Int8Array | Uint8Array> extends StridedData<Data> {
  data: Data;
  shape: number[];
  stride: number[];
  offset: number;
  dtype: DataName<Data>;
  size: number;
  order: number[];
  dimension: number;
  T: Ndarray<Data>;
  get(...index: number[]): number;
  set(...indexAndValue: number[]): number;
  index(...index: number[]): number;
  lo(...index: number[]): Ndarray<Data>;
  hi(...index: number[]): Ndarray<Data>;
  step(...step: number[]): Ndarray<Data>;
  transpose(...axes: number[]): Ndarray<Data>;
  pick(...index: (number | null)[]): Ndarray<Data>;
}
