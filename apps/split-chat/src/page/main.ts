/** The page: loads its half of the model, and writes stories with the other half on the server. */
import { setThreads } from "@frugal/tensor-core";
import { CODEC_CHOICES, codecChoice } from "./codec-choices.ts";
import { loadDeviceHalf } from "./device-half.ts";
import { element, setText, textElement } from "./element.ts";
import { StoryList } from "./story-list.ts";
import { StoryWriter, type StoryObserver, type StorySettings } from "./story-writer.ts";
import { describeEvent, formatBytes, logEvent, showTraffic, showWire } from "./traffic-view.ts";

const form = element("form", HTMLFormElement);
const codecs = element("codec", HTMLSelectElement);
const ratio = element("ratio", HTMLSelectElement);
const story = element("story", HTMLElement);
const problem = element("error", HTMLElement);
const buttons = {
  write: element("write", HTMLButtonElement), stop: element("stop", HTMLButtonElement), cut: element("cut", HTMLButtonElement),
};
const list = new StoryList();

function showProblem(error: unknown): void {
  problem.textContent = error instanceof Error ? error.message : String(error);
  problem.hidden = false;
}

function showChoice(): void {
  const { hint, isFixedRate } = codecChoice(codecs.value);
  ratio.disabled = isFixedRate;
  setText("codec-hint", isFixedRate ? hint : `${hint} The rate is of the codec’s message; its frame adds 44 bytes.`);
}

function fillCodecs(): void {
  for (const { name, label, group } of CODEC_CHOICES) {
    let options = codecs.querySelector<HTMLOptGroupElement>(`optgroup[label="${group}"]`);
    if (options === null) {
      options = document.createElement("optgroup");
      options.label = group;
      codecs.append(options);
    }
    options.append(new Option(label, name));
  }
  codecs.addEventListener("change", showChoice);
  showChoice();
}

function settingsOfForm(): StorySettings {
  const data = new FormData(form);
  return {
    prompt: String(data.get("prompt")), codec: codecChoice(codecs.value), ratio: Number(ratio.value),
    temperature: Number(data.get("sampling")), maxNewTokens: Number(data.get("tokens")),
  };
}

/** Shows a story while it is written. */
function observer(): StoryObserver {
  let cutAt = 0;
  return {
    text: (piece) => story.append(piece),
    traffic: showTraffic,
    event(event) {
      logEvent(event);
      const { text, state } = describeEvent(event);
      if (state !== undefined) showWire(state, event.kind === "disconnected" ? "by hand, or by the network" : text);
      if (event.kind === "disconnected") cutAt = performance.now();
      if (event.kind === "resumed" || event.kind === "rebuilt") {
        const seconds = ((performance.now() - cutAt) / 1000).toFixed(1);
        story.append(textElement("span", `cut, ${event.kind} after ${seconds} s`, "mark"));
      }
    },
  };
}

async function writeStory(writer: StoryWriter): Promise<void> {
  const settings = settingsOfForm();
  problem.hidden = true;
  story.replaceChildren(textElement("span", settings.prompt, "given"));
  story.dataset["writing"] = "";
  // Read aloud when it is whole.
  story.ariaBusy = "true";
  buttons.write.disabled = true;
  buttons.stop.disabled = buttons.cut.disabled = false;
  try {
    list.add(settings, await writer.write(settings, observer()));
  } catch (error) {
    showProblem(error);
  } finally {
    delete story.dataset["writing"];
    story.ariaBusy = "false";
    buttons.write.disabled = false;
    buttons.stop.disabled = buttons.cut.disabled = true;
    showWire("closed", "until the next story");
  }
}

async function start(): Promise<void> {
  fillCodecs();
  // One block for one token at a time is too little work to be shared.
  setThreads(1);
  const progress = element("load-progress", HTMLProgressElement);
  const half = await loadDeviceHalf((bytes, ofBytes) => {
    progress.value = bytes / ofBytes;
    setText("load-label", `Fetching this page’s half of the weights: ${formatBytes(bytes)} of ${formatBytes(ofBytes)}`);
  });
  const { model, settings, fetchedBytes } = half;
  element("loading", HTMLElement).hidden = true;
  const blocks = settings.splitBlock === 1 ? "block 1" : `blocks 1 to ${settings.splitBlock}`;
  const fetched = `${formatBytes(fetchedBytes)} of ${formatBytes(settings.model.bytes)}`;
  setText("device-half", `embedding and ${blocks} of ${model.blockCount}: fetched ${fetched}`);
  setText("server-half", `blocks ${settings.splitBlock + 1} to ${model.blockCount} and the head of ${settings.model.name}`);
  const writer = new StoryWriter(half);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void writeStory(writer);
  });
  buttons.stop.addEventListener("click", () => writer.stop());
  buttons.cut.addEventListener("click", () => writer.cut());
  buttons.write.disabled = false;
}

start().catch(showProblem);
