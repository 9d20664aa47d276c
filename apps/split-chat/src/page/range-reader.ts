import { RandomAccessError, type RandomAccessReader } from "@frugal/tensor-core";

/** Told how many bytes have come, of all reads together. */
export type OnBytes = (bytes: number) => void;

/** A file on a server that answers range requests, of which only what is read is fetched. */
export function readerFromUrl(url: URL, byteLength: number, onBytes: OnBytes = () => {}): RandomAccessReader {
  let fetched = 0;
  return {
    byteLength,
    description: url.href,
    async read(offset, length) {
      if (length === 0) return new Uint8Array(0);
      const last = offset + length - 1;
      const response = await fetch(url, { headers: { range: `bytes=${offset}-${last}` } });
      const contentRange = response.headers.get("content-range");
      if (response.status !== 206 || contentRange !== `bytes ${offset}-${last}/${byteLength}` || response.body === null) {
        const asked = `${length} bytes at ${offset} of ${byteLength}`;
        throw new RandomAccessError(url.href, `the server answers ${response.status} to a request for ${asked}`);
      }
      const bytes = new Uint8Array(length);
      const reader = response.body.getReader();
      let filled = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (filled + value.length > length) break;
        bytes.set(value, filled);
        filled += value.length;
        onBytes((fetched += value.length));
      }
      if (filled !== length) throw new RandomAccessError(url.href, `${filled} bytes came of the ${length} at ${offset}`);
      return bytes;
    },
    async close() {},
  };
}
