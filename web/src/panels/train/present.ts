/** A mode for a projector: larger type, only the bar, the picture and the curves. */
import { useEffect, useState } from "preact/hooks";

/** Returns whether it is on, and what changes it; Escape ends it. */
export function usePresent() {
  const [isOn, setOn] = useState(false);
  useEffect(() => {
    const page = document.documentElement;
    page.classList.toggle("presenting", isOn);
    const onKey = ({ key }: KeyboardEvent) => key === "Escape" && setOn(false);
    addEventListener("keydown", onKey);
    return () => {
      removeEventListener("keydown", onKey);
      page.classList.remove("presenting");
    };
  }, [isOn]);
  return { isOn, toggle: () => setOn(!isOn) };
}
