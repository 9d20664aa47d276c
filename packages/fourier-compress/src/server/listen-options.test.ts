import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { addressKey, ConnectionCounter, isAllowedOrigin, listenSettings } from "./listen-options.ts";

describe("listen options", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002::1", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["a name", "a name"],
  ])("counts %s as %s", (address, key) => {
    expect(addressKey(address)).toBe(key);
  });

  it("takes frames as long as the server does", () => {
    expect(listenSettings({}, { payloadBytes: 131_072 }).maxPayload).toBe(131_072);
    expect(listenSettings({ maxPayload: 1000 }, { payloadBytes: 131_072 }).maxPayload).toBe(1000);
  });

  it("counts connections out again, once", () => {
    const counter = new ConnectionCounter({ connections: 3, connectionsPerAddress: 2 });
    const first = counter.enter("a")!;
    expect(counter.enter("a")).toBeDefined();
    expect(counter.enter("a")).toBeUndefined();
    expect(counter.enter("b")).toBeDefined();
    expect(counter.enter("c")).toBeUndefined();
    first();
    first();
    expect(counter.enter("c")).toBeDefined();
    expect(counter.enter("a")).toBeUndefined();
  });

  it("lets programs in, pages only from listed origins", () => {
    const settings = listenSettings({ origins: ["https://example.org"] });
    expect(isAllowedOrigin(undefined, settings)).toBe(true);
    expect(isAllowedOrigin("https://example.org", settings)).toBe(true);
    for (const origin of ["https://example.org.evil.test", "http://example.org", "https://example.org:8443", "null", ""]) {
      expect(isAllowedOrigin(origin, settings)).toBe(false);
    }
    expect(isAllowedOrigin(undefined, listenSettings({ requireOrigin: true, origins: ["*"] }))).toBe(false);
    expect(isAllowedOrigin("null", listenSettings({ origins: ["*"] }))).toBe(true);
    expect(isAllowedOrigin("https://example.org", listenSettings({}))).toBe(false);
  });

  it.each([
    [{ connections: 0 }], [{ connectionsPerAddress: 1.5 }], [{ maxPayload: -1 }], [{ handshakeSeconds: 0 }], [{ idleSeconds: Infinity }],
    [{ port: -1 }], [{ port: 65_536 }], [{ path: "split" }], [{ origins: ["example.org"] }], [{ origins: ["https://example.org/"] }],
  ])("refuses %j", (options) => {
    expect(() => listenSettings(options)).toThrow(SettingsError);
  });
});
