import { describe, expect, it } from "vitest";
import { FrameError } from "../errors.ts";
import { controlFrame, controlMessage, type ControlType } from "./control-messages.ts";
import { makeFrame, type Frame } from "./frame.ts";
import { goldenFrames } from "./golden-frames.testing.ts";

/** A control frame with whatever payload. */
const frameOf = (type: ControlType, payload: string | Uint8Array): Frame =>
  makeFrame(type, { payload: typeof payload === "string" ? new TextEncoder().encode(payload) : payload });

const controlFrames = goldenFrames.map(({ frame }) => frame).filter(({ type }) => type !== "activation" && type !== "result");

describe("control messages", () => {
  it.each(controlFrames)("$type comes back as it was", (frame) => {
    const type = frame.type as ControlType;
    expect(controlFrame(type, controlMessage(type, frame))).toEqual(frame);
  });

  it.each(controlFrames)("$type is refused with a field more, and with any field of another kind", (frame) => {
    const type = frame.type as ControlType;
    const message = controlMessage(type, frame) as Record<string, unknown>;
    expect(() => controlMessage(type, frameOf(type, JSON.stringify({ ...message, more: 1 })))).toThrow(FrameError);
    for (const key of Object.keys(message)) {
      expect(() => controlMessage(type, frameOf(type, JSON.stringify({ ...message, [key]: { not: "this" } })))).toThrow(FrameError);
    }
  });

  it.each<[string, ControlType, string | Uint8Array, RegExp]>([
    ["no JSON", "hello", "{", /a hello frame does not hold JSON/],
    ["bytes that are no UTF-8", "hello", new Uint8Array([0x22, 0xff, 0x22]), /does not hold JSON/],
    ["nothing", "close", "", /does not hold JSON/],
    ["null", "close", "null", /close: .*object/],
    ["a list", "close", "[1]", /close: .*object/],
    ["a fraction for a count", "close", '{"session":1.5}', /session: /],
    ["a negative count", "close", '{"session":-1}', /session: /],
    ["a count of 33 bits", "close", '{"session":4294967296}', /session: /],
    ["a number beyond all", "close", '{"session":1e999}', /session: /],
    ["a prototype", "close", '{"session":1,"__proto__":{"polluted":1}}', /__proto__/],
    ["a nonce of another length", "challenge", '{"nonce":"00","methods":["none"]}', /nonce: /],
    ["capitals in hexadecimal", "challenge", `{"nonce":"${"AB".repeat(32)}","methods":["none"]}`, /nonce: /],
    ["no method", "challenge", `{"nonce":"${"ab".repeat(32)}","methods":[]}`, /methods: /],
    ["an unknown method", "authenticate", '{"method":"password","token":"x"}', /method: /],
    ["the fields of another method", "authenticate", '{"method":"none","token":"x"}', /token/],
    ["a token that is too long", "authenticate", JSON.stringify({ method: "bearer", token: "x".repeat(4097) }), /token: /],
    ["a line break in a name", "hello", '{"client":"a\\nb"}', /client: control characters/],
    ["an escape sequence in a name", "hello", '{"client":"\\u001b[2J"}', /client: control characters/],
    ["a name that is too long", "hello", JSON.stringify({ client: "x".repeat(129) }), /client: /],
    ["an unknown code", "error", '{"code":"oops","message":""}', /code: /],
  ])("are refused for %s", (_, type, payload, message) => {
    expect(() => controlMessage(type, frameOf(type, payload))).toThrow(message);
    expect(() => controlMessage(type, frameOf(type, payload))).toThrow(FrameError);
    expect(Object.prototype).not.toHaveProperty("polluted");
  });

  it("are refused in a frame of another type", () => {
    expect(() => controlMessage("open", controlFrame("close", { session: 1 }))).toThrow(/a close frame came where open was due/);
  });

  it("are refused above 64 KiB before they are parsed, and not made", () => {
    expect(() => controlMessage("hello", frameOf("hello", " ".repeat(65_537)))).toThrow(/65537 bytes is too long/);
    const tables = Array.from({ length: 1000 }, (_, block) => ({ hash: "ab".repeat(32), block }));
    const welcome = controlMessage("welcome", controlFrames.find(({ type }) => type === "welcome")!);
    expect(() => controlFrame("welcome", { ...welcome, tables })).toThrow(/a welcome of \d+ bytes is longer than 65536/);
  });

  it.each<[string, string]>([
    ["nesting", "[".repeat(32_768) + "]".repeat(32_768)],
    ["nested objects", '{"a":'.repeat(10_000) + "1" + "}".repeat(10_000)],
    ["very many faults", JSON.stringify(Object.fromEntries(Array.from({ length: 6000 }, (_, index) => [`f${index}`, 0])))],
    ["a number of very many digits", `{"session":${"9".repeat(65_000)}}`],
    ["very many elements", JSON.stringify({ prefixes: Array.from({ length: 30_000 }, () => 1) })],
  ])("answer %s quickly and briefly", (_, payload) => {
    const start = performance.now();
    for (const type of ["close", "open"] as const) {
      let complaint = "";
      try {
        controlMessage(type, frameOf(type, payload));
      } catch (error) {
        expect(error).toBeInstanceOf(FrameError);
        complaint = (error as Error).message;
      }
      expect(complaint).not.toBe("");
      expect(complaint.length).toBeLessThan(600);
    }
    expect(performance.now() - start).toBeLessThan(1000);
  });
});
