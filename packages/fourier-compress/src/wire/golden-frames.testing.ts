import { controlFrame } from "./control-messages.ts";
import { makeFrame, type Frame } from "./frame.ts";

/** A frame with its bytes in hexadecimal. */
export interface GoldenFrame {
  readonly frame: Frame;
  readonly header: string;
  readonly payload: string;
}

const bytes = (hexadecimal: string): Uint8Array => new Uint8Array(Buffer.from(hexadecimal, "hex"));
/** The UTF-8 of a text in hexadecimal. */
const text = (characters: string): string => Buffer.from(characters, "utf8").toString("hex");
const repeated = (byte: string, count: number): string => byte.repeat(count);

/**
 * Frames of every kind and their bytes: the wire format, written down. The bytes were made by an encoder of its own in Python (struct.pack,
 * and CRC-32C bit by bit), not by the code they test. Never change those of a version that has been published.
 */
export const goldenFrames: readonly GoldenFrame[] = [
  {
    frame: controlFrame("hello", { client: "a browser" }),
    header: "4643535001010000000000000000000000000000000000000000000000000000000000001600000038340423",
    payload: text('{"client":"a browser"}'),
  },
  {
    frame: controlFrame("challenge", { nonce: repeated("0a", 32), methods: ["bearer", "hmac"] }),
    header: "46435350010200000000000000000000000000000000000000000000000000000000000068000000a3191168",
    payload: text('{"nonce":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","methods":["bearer","hmac"]}'),
  },
  {
    frame: controlFrame("authenticate", { method: "hmac", principal: "zoë", mac: repeated("5c", 32) }),
    header: "4643535001030000000000000000000000000000000000000000000000000000000000006d000000d83f6318",
    payload: text('{"method":"hmac","principal":"zoë","mac":"5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c"}'),
  },
  {
    frame: controlFrame("welcome", { server: "frugal", model: { name: "stories15M", fingerprint: repeated("15", 32), blockCount: 6,
      hiddenSize: 288,
      vocabularySize: 32000, maxPositionEmbeddings: 256 }, splitBlocks: [1, 5], codecs: ["float16", "klt"],
      tables: [{ hash: repeated("7a", 32), block: 1 }], limits: { tokensPerFrame: 512, tokensPerSession: 256, sessions: 64,
      payloadBytes: 1048576, expirySeconds: 300 } }),
    header: "464353500104000000000000000000000000000000000000000000000000000000000000d5010000f501ff00",
    payload: text(
      '{"server":"frugal","model":{"name":"stories15M",' +
      '"fingerprint":"1515151515151515151515151515151515151515151515151515151515151515","blockCount":6,"hiddenSize":288,' +
      '"vocabularySize":32000,"maxPositionEmbeddings":256},"splitBlocks":[1,5],"codecs":["float16","klt"],' +
      '"tables":[{"hash":"7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a","block":1}],' +
      '"limits":{"tokensPerFrame":512,"tokensPerSession":256,"sessions":64,"payloadBytes":1048576,"expirySeconds":300}}',
    ),
  },
  {
    frame: controlFrame("open", { request: 7, fingerprint: repeated("15", 32), splitBlock: 1, codec: "klt", table: repeated("7a", 32),
      result: "token",
      sampling: { temperature: 0.5, topK: 40, seed: 3 }, capacity: 256, prefixes: [repeated("e1", 32)] }),
    header: "46435350010500000000000000000000000000000000000000000000000000000000000068010000f77a5e71",
    payload: text(
      '{"request":7,"fingerprint":"1515151515151515151515151515151515151515151515151515151515151515","splitBlock":1,' +
      '"codec":"klt","table":"7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a","result":"token",' +
      '"sampling":{"temperature":0.5,"topK":40,"seed":3},"capacity":256,' +
      '"prefixes":["e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1"]}',
    ),
  },
  {
    frame: controlFrame("opened", { request: 7, session: 3, id: repeated("1d", 16), secret: repeated("5e", 32), prefixMessages: 1,
      prefixTokens: 12,
      expirySeconds: 300 }),
    header: "464353500106000000000000000000000000000000000000000000000000000000000000c6000000260f182b",
    payload: text(
      '{"request":7,"session":3,"id":"1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d",' +
      '"secret":"5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e","prefixMessages":1,"prefixTokens":12,' +
      '"expirySeconds":300}',
    ),
  },
  {
    frame: controlFrame("resume", { request: 8, id: repeated("1d", 16), secret: repeated("5e", 32), received: 41 }),
    header: "4643535001070000000000000000000000000000000000000000000000000000000000008f00000045b3ca61",
    payload: text(
      '{"request":8,"id":"1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d",' +
      '"secret":"5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e","received":41}',
    ),
  },
  {
    frame: controlFrame("resumed", { request: 8, session: 4, applied: 42, position: 54 }),
    header: "464353500108000000000000000000000000000000000000000000000000000000000000340000008f628354",
    payload: text('{"request":8,"session":4,"applied":42,"position":54}'),
  },
  {
    frame: controlFrame("close", { session: 4 }),
    header: "4643535001090000000000000000000000000000000000000000000000000000000000000d00000078353d1e",
    payload: text('{"session":4}'),
  },
  {
    frame: controlFrame("closed", { session: 4 }),
    header: "46435350010a0000000000000000000000000000000000000000000000000000000000000d0000007412463a",
    payload: text('{"session":4}'),
  },
  {
    frame: controlFrame("error", { code: "rate-limit", message: "too many frames", session: 4, sequence: 43, retryAfterSeconds: 0.25 }),
    header: "46435350010b000000000000000000000000000000000000000000000000000000000000640000003dc7027c",
    payload: text('{"code":"rate-limit","message":"too many frames","session":4,"sequence":43,"retryAfterSeconds":0.25}'),
  },
  {
    frame: makeFrame("activation", { flags: 1, session: 4, sequence: 43, position: 54, tokens: 2, hiddenSize: 4, block: 1, codec: 9,
      dtype: "codec",
      table: 0x7a7a7a7a, payload: bytes("0902040102ff") }),
    header: "4643535001100100040000002b000000360000000200000004000000010009037a7a7a7a060000004f4436a9",
    payload: "0902040102ff",
  },
  {
    frame: makeFrame("activation", { flags: 0, session: 0xffffffff, sequence: 0xfffffffe, position: 0x1000000, tokens: 0x20000,
      hiddenSize: 0x10000, block: 4096,
      codec: 63, dtype: "codec", table: 0xffffffff, payload: bytes("") }),
    header: "4643535001100000fffffffffeffffff00000001000002000000010000103f03ffffffff000000005f1f0dda",
    payload: "",
  },
  {
    frame: makeFrame("result", { flags: 5, session: 4, sequence: 43, position: 56, tokens: 1, dtype: "token", payload: bytes("ff7c0000") }),
    header: "4643535001110500040000002b0000003800000001000000000000000000000400000000040000001571bb48",
    payload: "ff7c0000",
  },
  {
    frame: makeFrame("result", { flags: 3, session: 4, sequence: 44, position: 58, tokens: 2, hiddenSize: 2, dtype: "float32",
      payload: bytes("0000803f000000c00000003f00005040") }),
    header: "4643535001110300040000002c0000003a00000002000000020000000000000100000000100000005dcc900c",
    payload: "0000803f000000c00000003f00005040",
  },
  {
    frame: makeFrame("result", { session: 4, sequence: 45, position: 60, payload: bytes("") }),
    header: "4643535001110000040000002d0000003c00000000000000000000000000000000000000000000000940c18d",
    payload: "",
  },
];
