/** What the page says to those who use a screen reader. */
import { signal } from "@preact/signals";

export const status = signal("");

/** Says a text. A screen reader is silent about one that stays the same; an invisible character makes it another. */
export function announce(text: string) {
  cancelAnnouncement();
  status.value = status.peek() === text ? `${text}\u00a0` : text;
}

let timer: ReturnType<typeof setTimeout> | undefined;

/** Says a text once the changes have come to rest. */
export function announceSoon(text: string | (() => string), milliseconds = 300) {
  clearTimeout(timer);
  timer = setTimeout(() => announce(typeof text === "string" ? text : text()), milliseconds);
}

export const cancelAnnouncement = () => clearTimeout(timer);
