/** Tables that scroll inside themselves where they are too wide. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

export type Row = { head: ComponentChildren; cells: ComponentChildren[]; marked?: boolean };

interface TableProps {
  name: string; // For those who use a screen reader
  columns: string[];
  rows: Row[];
}

export const ScrollTable = ({ name, columns, rows }: TableProps) => (
  <div class="table" role="region" tabIndex={0} aria-label={name} data-scrolls="">
    <table>
      <caption class="visually-hidden">{name}</caption>
      <thead>
        <tr>
          {columns.map((column) => (
            <th key={column} scope="col">
              {column}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(({ head, cells, marked }, index) => (
          <tr key={index} class={marked ? "marked" : undefined}>
            <th scope="row">{head}</th>
            {cells.map((cell, k) => (
              <td key={k}>{cell}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

/** What is made only once a reader opens it. */
export function Disclosure({ summary, children }: { summary: string; children: () => ComponentChildren }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{summary}</summary>
      {isOpen && children()}
    </details>
  );
}
