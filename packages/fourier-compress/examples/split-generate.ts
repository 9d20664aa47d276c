/**
 * Both halves of a split model in one process, with a real WebSocket between them: `node examples/split-generate.ts [codec] [ratio]`.
 * The codec is one that needs no table: hadamard (default), float32, float16, int8, top-k, fourier-hermitian, …
 */
import { codecDefinition, SplitClient, webSocketTransport } from "@frugal/fourier-compress";
import { createSplitServer, listenWebSocket } from "@frugal/fourier-compress/server";
import { loadModel, modelFingerprint, openPretrained } from "@frugal/language-model";

const [name = "hadamard", ratio = "4"] = process.argv.slice(2);
const prompt = "Once upon a time";

const { source, loadTokenizer } = await openPretrained("stories15M");
const tokenizer = await loadTokenizer();
const device = await loadModel(source, { parts: { blocks: [0, 1], head: false } });
const rest = await loadModel(source, { parts: { blocks: [1, source.config.numHiddenLayers], embedding: false } });

// The server's machine.
const server = createSplitServer({ model: rest, fingerprint: await modelFingerprint(source.config), exact: true });
const listener = await listenWebSocket(server);

// The device, which knows nothing of the server but its address.
const client = await SplitClient.connect({
  transport: webSocketTransport(listener.url),
  model: device,
  codec: codecDefinition(name).isFixedRate ? { name } : { name, mode: { kind: "ratio", ratio: Number(ratio) } },
  result: "token",
  errorSampling: 1,
});
const decoder = tokenizer.streamDecoder({ continuation: true });
process.stdout.write(prompt);
for await (const { id } of client.generate(tokenizer.encode(prompt), { maxNewTokens: 60 })) process.stdout.write(decoder.push(id));

const { messages, activationBytes, byteRatioFloat16, byteRatioFloat32, relativeError, roundTrip } = client.traffic();
const [toFloat16, toFloat32] = [byteRatioFloat16.toFixed(2), byteRatioFloat32.toFixed(2)];
console.log(`\n\n${name}: ${messages} messages, ${activationBytes} bytes with their frames: ${toFloat16} x smaller than float16,`);
console.log(`${toFloat32} x than float32; relative error ${relativeError!.toFixed(4)}; round trip ${roundTrip.median.toFixed(1)} ms`);

client.close();
await listener.close();
await server.close();
await source.close();
device.dispose();
rest.dispose();
