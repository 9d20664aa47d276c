import { describe, expect, it } from "vitest";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";

describe("ByteWriter", () => {
  it.each(["uint8", "uint16", "uint32", "float32", "varint"] as const)("grows under every %s", (kind) => {
    // The buffer begins with 256 bytes: each offset meets its end once.
    for (let offset = 250; offset <= 256; offset++) {
      const writer = new ByteWriter();
      writer.append(new Uint8Array(offset));
      writer[kind](200);
      const reader = new ByteReader("test", writer.finish());
      reader.bytes(offset);
      expect(reader[kind]()).toBe(200);
      expect(reader.remaining).toBe(0);
    }
  });
});
