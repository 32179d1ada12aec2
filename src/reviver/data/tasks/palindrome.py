"""The task of the original: predict the last digit of a palindrome from all digits before it."""

from typing import TYPE_CHECKING, Any

from reviver.settings.tasks import DIGITS, TaskDefinition

if TYPE_CHECKING:
    from reviver.data.palindromes import PalindromeTask


class Palindrome(TaskDefinition):
    """The last digit of a palindrome of length T, which equals the first, from its T - 1 others, C = 10."""

    goal = "predict the last digit of a palindrome from all digits before it"
    inputs = "digits of a palindrome, all but the last"
    symbols = classes = DIGITS

    def build(self, config: Any) -> "PalindromeTask":
        """Return the task of a run, see `TaskDefinition.build`."""
        from reviver.data.palindromes import PalindromeTask

        return PalindromeTask(config)


TASK = Palindrome
