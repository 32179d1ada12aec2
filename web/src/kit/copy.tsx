/** Text to copy, and how a shell reads it. */
import { useState } from "preact/hooks";
import { announce } from "./announce";
import { Button, Field } from "./controls";

/** Quotes an argument for a POSIX shell. */
export const quote = (text: string) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

interface CopyProps {
  text: string;
  copy: string; // Of the button
  label?: string; // Of the text, which then stands in a field of one line
}

/** A text with a button that copies it. Where the browser refuses, as inside an iframe, the button selects it. */
export function CopyField({ text, copy, label }: CopyProps) {
  const [result, setResult] = useState({ text, message: "" });
  let shown: HTMLElement | null = null;
  const say = (message: string) => {
    setResult({ text, message });
    announce(message);
  };
  const onCopy = async () => {
    if (shown instanceof HTMLInputElement) shown.select();
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
    } catch {
      if (shown && !(shown instanceof HTMLInputElement)) getSelection()?.selectAllChildren(shown);
      say("Selected: press Ctrl+C or ⌘C to copy.");
    }
  };
  const keep = (element: HTMLElement | null) => void (shown = element);
  return (
    <div class="row controls copy-field">
      {label === undefined ? (
        <pre tabIndex={0} data-scrolls="">
          <code ref={keep}>{text}</code>
        </pre>
      ) : (
        <Field label={label}>
          {(id) => (
            <input
              {...{ id, ref: keep, value: text, type: "text", readOnly: true, class: "command", spellcheck: false }}
              onFocus={(event) => event.currentTarget.select()}
            />
          )}
        </Field>
      )}
      <Button onClick={() => void onCopy()}>{copy}</Button>
      <span class="copied">{result.text === text ? result.message : ""}</span>
    </div>
  );
}
