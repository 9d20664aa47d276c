import type { Section } from "../section.ts";
import { faultToleranceSection } from "./fault-tolerance.ts";
import { generationSection } from "./generation.ts";
import { splitInferenceSection } from "./split-inference.ts";
import { tensorSection } from "./tensors.ts";
import { trainingSection } from "./training.ts";

/** The main job, in order. */
export const sections: readonly Section[] = [tensorSection, generationSection, trainingSection, splitInferenceSection, faultToleranceSection];
