/** Controls with labels: native elements, so that keyboard, touch and screen readers work by themselves. */
import type { ButtonHTMLAttributes, ComponentChildren, InputHTMLAttributes, TargetedEvent } from "preact";
import { useId, useState } from "preact/hooks";
import { explain } from "./terms";

/** A value that a control shows and sets: a signal, or what `cell` makes of two functions. */
export interface Cell<T> {
  value: T;
}

/** A cell that does more than to keep a value. */
export const cell = <T,>(get: () => T, set: (value: T) => void): Cell<T> => ({
  get value() {
    return get();
  },
  set value(value) {
    set(value);
  },
});

/** A cell for one rendering, of a value that is at hand. */
export const bound = <T,>(value: T, set: (value: T) => void): Cell<T> => cell(() => value, set);

export type Choices<T extends string> = readonly (readonly [T, string])[];

/** Choices of an object, in its order. */
export const named = <T extends string>(names: Partial<Record<T, string>>) => Object.entries(names) as [T, string][];

interface Named<T> {
  label: string;
  of: Cell<T>;
}

export const Button = (props: ButtonHTMLAttributes<HTMLButtonElement>) => <button type="button" {...props} />;

/** A button with a sign, whose name a pointer shows. */
export const KeyButton = ({ label, ...attributes }: ButtonHTMLAttributes<HTMLButtonElement> & { label: string }) => (
  <Button class="key" aria-label={label} title={label} {...attributes} />
);

interface FieldProps {
  label: ComponentChildren;
  children: (id: string) => ComponentChildren;
}

export function Field({ label, children }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{explain(label)}</label>
      {children(id)}
    </div>
  );
}

export function Select<T extends string>({ label, of, choices }: Named<T> & { choices: Choices<T> }) {
  return (
    <Field label={label}>
      {(id) => (
        <select id={id} value={of.value} onChange={(event) => (of.value = event.currentTarget.value as T)}>
          {choices.map(([value, name]) => (
            <option key={value} value={value} selected={value === of.value}>
              {name}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** The same of numbers, such as indices. */
export const selectIndex = (of: Cell<number>): Cell<string> =>
  cell(
    () => String(of.value),
    (value) => (of.value = Number(value)),
  );

/** Names as choices of their indices. */
export const indexed = (names: readonly string[]): Choices<string> => names.map((name, k) => [String(k), name]);

type Range = { min: number; max: number; step: number };

interface SliderProps extends Named<number>, Range {
  format?: (value: number) => string;
  spoken?: string; // In place of the words, for a screen reader
  onChange?: () => void; // Called once the reader lets go
}

export function Slider(props: SliderProps) {
  const { label, of, format = String, spoken, ...range } = props;
  const text = format(of.value);
  return (
    <Field label={label}>
      {(id) => (
        <>
          <input
            id={id}
            type="range"
            {...range}
            value={of.value}
            aria-valuetext={spoken ?? text}
            onInput={(event) => (of.value = event.currentTarget.valueAsNumber)}
          />
          <output for={id}>{text}</output>
        </>
      )}
    </Field>
  );
}

export function Toggle({ label, of }: Named<boolean>) {
  return (
    <label>
      <input type="checkbox" checked={of.value} onChange={(event) => (of.value = event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}

/** A choice among few named values, all visible: radio buttons, `segmented` as one row of buttons. */
export function Radios<T extends string>(props: Named<T> & { choices: Choices<T>; segmented?: boolean }) {
  const { label, of, choices, segmented } = props;
  const name = useId();
  return (
    <fieldset class="field">
      <legend>{label}</legend>
      <div class="row">
        {choices.map(([value, text]) => (
          <label key={value} class={segmented ? "button" : undefined}>
            <input
              type="radio"
              name={name}
              value={value}
              checked={value === of.value}
              onChange={() => (of.value = value)}
            />
            <span>{text}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

interface NumberProps extends Named<number> {
  min?: number;
  max?: number;
  step?: number | "any";
}

/** A field that takes a number once it is complete; what is none, or outside of the range, changes nothing. */
export function NumberField({ label, of, min, max, step = 1 }: NumberProps) {
  const onChange = (event: TargetedEvent<HTMLInputElement>) => {
    const value = event.currentTarget.valueAsNumber;
    const fits = Number.isFinite(value) && (step === "any" || Number.isInteger(value));
    if (fits && value >= (min ?? -Infinity) && value <= (max ?? Infinity)) of.value = value;
    else event.currentTarget.value = show(of.value);
  };
  return (
    <Field label={label}>
      {(id) => <input type="number" {...{ id, min, max, step, onChange }} value={show(of.value)} />}
    </Field>
  );
}

const show = (value: number) => (Number.isNaN(value) ? "" : String(value));

type TextProps = Named<string> & { rows?: number; hint?: string; problem?: string };

/** A field for a text, of one line or more, with a hint or with what is wrong. */
export function TextField(props: TextProps & Omit<InputHTMLAttributes<HTMLInputElement>, "label">) {
  const { label, of, rows = 1, hint, problem: given, ...attributes } = props;
  const [tooLong, setTooLong] = useState(0);
  const limit = Number(attributes.maxLength ?? Infinity);
  const problem = tooLong
    ? `The text has ${tooLong.toLocaleString("en")} characters; paste at most ${limit.toLocaleString("en")}.`
    : given;
  /** A browser would cut it without a word. */
  const onPaste = (event: ClipboardEvent) => {
    const size = event.clipboardData?.getData("text").length ?? 0;
    setTooLong(size > limit ? size : 0);
    if (size > limit) event.preventDefault();
  };
  return (
    <Field label={label}>
      {(id) => {
        const about = [hint && `${id}-hint`, problem !== undefined && `${id}-problem`].filter(Boolean).join(" ");
        const shared: object = { id, value: of.value, "aria-describedby": about || undefined, ...attributes };
        const onInput = (event: { currentTarget: { value: string } }) => {
          setTooLong(0);
          of.value = event.currentTarget.value;
        };
        return (
          <>
            {rows > 1 ? (
              <textarea {...shared} rows={rows} {...{ onInput, onPaste }} />
            ) : (
              <input {...shared} {...{ onInput, onPaste }} />
            )}
            {hint && <small id={`${id}-hint`}>{hint}</small>}
            {problem !== undefined && (
              <p id={`${id}-problem`} class="wrong" role="alert">
                {problem}
              </p>
            )}
          </>
        );
      }}
    </Field>
  );
}
