import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { answerChallenge } from "../wire/answer-challenge.ts";
import { createAuthenticator, isSameSecret } from "./authentication.ts";

const both = createAuthenticator({
  bearerTokens: { alice: "a-token-of-alice", carol: "a-token-of-carol" },
  secrets: { bob: "a secret of bob", "zoë": "ein Geheimnis" },
});

describe("authentication", () => {
  it("takes the answers that clients give to its challenges", async () => {
    const challenge = both.challenge();
    expect(challenge.methods).toEqual(["bearer", "hmac"]);
    const answers = [
      ["alice", { bearerToken: "a-token-of-alice" }], ["carol", { bearerToken: "a-token-of-carol" }],
      ["bob", { principal: "bob", secret: "a secret of bob" }], ["zoë", { principal: "zoë", secret: "ein Geheimnis" }],
    ] as const;
    for (const [principal, credentials] of answers) {
      expect(both.verify(challenge, await answerChallenge(challenge, credentials))).toEqual({ principal });
    }
  });

  it("computes the HMAC that the protocol names", async () => {
    const nonce = "0a".repeat(32);
    const answer = await answerChallenge({ nonce, methods: ["hmac"] }, { principal: "bob", secret: "s" });
    const mac = createHmac("sha256", "s").update(`fourier-compress${nonce}bob`).digest("hex");
    expect(answer).toEqual({ method: "hmac", principal: "bob", mac });
  });

  it.each<[string, Parameters<typeof answerChallenge>[1] & {}]>([
    ["a token of nobody", { bearerToken: "a-token-of-mallory" }],
    ["the beginning of a token", { bearerToken: "a-token-of-alic" }],
    ["a secret as a token", { bearerToken: "a secret of bob" }],
    ["a wrong secret", { principal: "bob", secret: "a secret of Bob" }],
    ["the secret of another", { principal: "bob", secret: "ein Geheimnis" }],
    ["a principal of nobody", { principal: "mallory", secret: "a secret of bob" }],
    ["a principal of a token", { principal: "alice", secret: "a-token-of-alice" }],
    ["a name of every object", { principal: "constructor", secret: "x" }],
  ])("refuses %s", async (_, credentials) => {
    const challenge = both.challenge();
    expect(both.verify(challenge, await answerChallenge(challenge, credentials))).toBeUndefined();
  });

  it("refuses the answer to another challenge, and none", async () => {
    const first = both.challenge();
    const second = both.challenge();
    expect(first.nonce).not.toBe(second.nonce);
    const answer = await answerChallenge(first, { principal: "bob", secret: "a secret of bob" });
    expect(both.verify(first, answer)).toBeDefined();
    expect(both.verify(second, answer)).toBeUndefined();
    expect(both.verify(first, { method: "none" })).toBeUndefined();
  });

  it("lets everybody in without settings, and asks for nothing", async () => {
    const open = createAuthenticator(undefined);
    const challenge = open.challenge();
    const answer = await answerChallenge(challenge, { bearerToken: "kept to itself" });
    expect(answer).toEqual({ method: "none" });
    expect(open.verify(challenge, answer)).toEqual({ principal: undefined });
    expect(open.verify(challenge, { method: "bearer", token: "x" })).toBeUndefined();
  });

  it("tells a client what it lacks", async () => {
    await expect(answerChallenge(both.challenge())).rejects.toThrow(/asks for credentials of bearer or hmac; none are given/);
    const challenge = { nonce: "00", methods: ["hmac"] } as const;
    await expect(answerChallenge(challenge, { bearerToken: "x" })).rejects.toThrow(/hmac; a bearer token is given/);
  });

  it.each([
    [{}], [{ bearerTokens: {} }], [{ bearerTokens: { a: "" } }], [{ secrets: { "": "x" } }], [{ secrets: { a: "x".repeat(4097) } }],
  ])("refuses the settings %j", (settings) => {
    expect(() => createAuthenticator(settings)).toThrow(SettingsError);
  });

  it("compares secrets of any length", () => {
    expect(isSameSecret("", "")).toBe(true);
    expect(isSameSecret("a", "ab")).toBe(false);
    expect(isSameSecret("ab", "ab")).toBe(true);
  });

  it("takes as long for the first principal as for the last and for none", () => {
    const names = Array.from({ length: 200 }, (_, index) => `principal ${index}`);
    const many = createAuthenticator({ bearerTokens: Object.fromEntries(names.map((name) => [name, `token of ${name}`])) });
    const challenge = many.challenge();
    const tokens = ["token of principal 0", "token of principal 199", "token of nobody at all"];
    const fastest = tokens.map(() => Infinity);
    // The fastest of many rounds: what a comparison costs, without what else the machine does.
    for (let round = 0; round < 400; round++) {
      for (const [index, token] of tokens.entries()) {
        const start = performance.now();
        many.verify(challenge, { method: "bearer", token });
        fastest[index] = Math.min(fastest[index]!, performance.now() - start);
      }
    }
    expect(Math.max(...fastest) / Math.min(...fastest)).toBeLessThan(1.5);
  });
});
