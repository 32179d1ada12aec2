/** The navigation: the panels by their network, and those that these runs do not have. */
import { useEffect, useRef } from "preact/hooks";
import type { Manifest } from "../kit/manifest";
import type { Panel } from "./panel";

const GROUPS = { lstm: "LSTM", gan: "GAN" };

interface NavigationProps {
  shown: Panel[];
  missing: Panel[];
  manifest: Manifest;
  current: string | undefined; // Id of the panel on show
}

export function Navigation({ shown, missing, manifest, current }: NavigationProps) {
  const tab = useRef<HTMLAnchorElement>(null);
  useEffect(() => tab.current?.scrollIntoView({ block: "nearest", inline: "center" }), [current]);
  const groups = [...new Set(shown.map(({ group }) => group))];
  return (
    <nav aria-label="Panels" data-scrolls="">
      {groups.map((group) => (
        <ul key={group} class="tabs" aria-label={group && GROUPS[group]}>
          {group && <li class="note">{GROUPS[group]}</li>}
          {shown
            .filter((panel) => panel.group === group)
            .map(({ id, title }) => (
              <li key={id}>
                <a
                  ref={id === current ? tab : null}
                  href={`#${id}`}
                  data-panel={id}
                  aria-current={id === current ? "page" : undefined}
                >
                  {title}
                </a>
              </li>
            ))}
        </ul>
      ))}
      {missing.length > 0 && (
        <details class="menu missing note">
          <summary>Needs a trained network</summary>
          <dl class="card">
            {missing.map((panel) => [
              <dt>{panel.title}</dt>,
              <dd>
                {panel.unavailable(manifest)}{" "}
                {panel.group && <a href={panel.group === "gan" ? "#train?net=gan" : "#train"}>Train one here</a>}
              </dd>,
            ])}
          </dl>
        </details>
      )}
    </nav>
  );
}
