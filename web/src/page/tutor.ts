/**
 * The tutor leads through a lesson, step by step: each step is bound to a place of the page, and may ask a question. The first
 * lesson is what a first visit meets. A teacher's question of a lesson file (lesson.ts) is a lesson, too.
 *
 * The fragment keeps it as `lesson=dropout.2`, the second step, with the view of whatever panel is on show.
 */
import { computed, signal } from "@preact/signals";
import type { Lesson } from "./lesson";
import data from "./lessons.json";

export interface Step {
  open?: string; // Fragment of what it shows; without, what is on show stays
  at?: string; // Selector of the place that it is about
  text: string;
  question?: string;
  answer?: string; // To compare with, once a reader has answered
  part?: string; // What the panel adds, of `Opened.parts`
}

export interface Plan {
  id: string;
  title: string;
  about: string;
  steps: Step[];
}

export const PLANS: Plan[] = data;

/** What the browser keeps; nothing in a sandboxed frame. */
function storage(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
const [MET, ANSWERS] = ["reviver-met", "reviver-answers-"];

export class Tutor {
  plan = signal<Plan | null>(null);
  index = signal(0);
  answers = signal<Record<string, string>>({}); // By the number of the step; of "name" the reader's
  step = computed(() => this.plan.value?.steps[this.index.value] ?? null);
  readonly plans = PLANS;
  #own: Plan | null = null; // The questions of a lesson file, one for each paragraph

  constructor(readonly lesson: Lesson | null) {
    if (!lesson?.question) return;
    const steps: Step[] = lesson.question.split(/\n\s*\n/).map((text) => ({ text: "", question: text.trim() }));
    this.#own = { id: "file", title: lesson.title, about: "", steps };
    this.plans = [this.#own, ...PLANS.map((plan) => ({ ...plan, steps: [...plan.steps, ...steps] }))];
    this.begin("file");
  }

  begin(id: string, index = 0): boolean {
    const plan = this.plans.find((one) => one.id === id);
    if (!plan) return false;
    storage()?.setItem(MET, "yes");
    this.index.value = Math.min(index, plan.steps.length - 1);
    if (this.plan.value === plan) return true;
    this.answers.value = JSON.parse(storage()?.getItem(ANSWERS + plan.title) ?? "{}") as Record<string, string>;
    this.plan.value = plan;
    return true;
  }

  /** Takes up the lesson of an address. */
  read(text: string) {
    const [id, number = "1"] = text.split(".");
    return this.begin(id, Math.max(0, Math.min(Number(number) || 1, 99) - 1));
  }

  /** Begins with the first lesson about a network, if nobody has met one here. */
  greet(kind: string) {
    if (!this.plan.value && !storage()?.getItem(MET)) this.begin(kind);
  }

  end() {
    this.plan.value = this.#own;
    this.index.value = 0;
  }

  answer(key: string, text: string) {
    this.answers.value = { ...this.answers.value, [key]: text };
    storage()?.setItem(ANSWERS + this.plan.value!.title, JSON.stringify(this.answers.value));
  }

  get view(): Record<string, string> {
    const plan = this.plan.value;
    return plan ? { lesson: `${plan.id}.${this.index.value + 1}` } : {};
  }

  /** What a student hands in; null of a lesson of the page with less than two questions. */
  get handIn(): string | null {
    const { title, steps } = this.plan.value!;
    const asked = steps.flatMap(({ question }, k) => (question ? [{ question, answer: this.answers.value[k] }] : []));
    if (asked.length < 2 && this.plan.value !== this.#own) return null;
    const lines = asked.map(({ question, answer }, k) => `${k + 1}. ${question}\n${answer?.trim() || "(no answer)"}`);
    const name = this.answers.value.name?.trim();
    return [`${title}${name ? `, ${name}` : ""}`, ...lines].join("\n\n");
  }
}
