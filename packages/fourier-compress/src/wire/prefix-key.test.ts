import { createHash } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { SettingsError } from "../errors.ts";
import { emptyPrefixKey, nextPrefixKey, type PrefixScope } from "./prefix-key.ts";

const scope: PrefixScope = { fingerprint: "ab".repeat(32), splitBlock: 1, codec: "klt", table: "cd".repeat(32) };
const hexadecimal = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("prefix keys", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("are SHA-256 of the key before and the message", async () => {
    const empty = await emptyPrefixKey(scope);
    const text = `["fourier-compress prefix","${"ab".repeat(32)}",1,"klt","${"cd".repeat(32)}"]`;
    expect(hexadecimal(empty)).toBe(createHash("sha256").update(text).digest("hex"));
    const message = new Uint8Array([1, 2, 3]);
    expect(hexadecimal(await nextPrefixKey(empty, message))).toBe(createHash("sha256").update(empty).update(message).digest("hex"));
  });

  it("differ with all that they depend on, and with where messages are cut", async () => {
    const scopes: PrefixScope[] = [
      scope, { ...scope, fingerprint: "00".repeat(32) }, { ...scope, splitBlock: 2 }, { ...scope, codec: "channel" },
      { ...scope, table: undefined },
    ];
    expect(new Set((await Promise.all(scopes.map(emptyPrefixKey))).map(hexadecimal)).size).toBe(scopes.length);
    const empty = await emptyPrefixKey(scope);
    const whole = await nextPrefixKey(empty, new Uint8Array([1, 2]));
    const halves = await nextPrefixKey(await nextPrefixKey(empty, new Uint8Array([1])), new Uint8Array([2]));
    expect(hexadecimal(halves)).not.toBe(hexadecimal(whole));
  });

  it("say what a page lacks that has no WebCrypto", async () => {
    vi.stubGlobal("crypto", {});
    await expect(emptyPrefixKey(scope)).rejects.toThrow(SettingsError);
    await expect(emptyPrefixKey(scope)).rejects.toThrow(/open it over https, or from localhost/);
  });
});
