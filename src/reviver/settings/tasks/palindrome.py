"""The task of the original: predict the last digit of a palindrome from all digits before it."""

from reviver.settings.tasks.definition import DIGITS, TaskDefinition


class Palindrome(TaskDefinition):
    """The last digit of a palindrome of length T, which equals the first, from its T - 1 others, C = 10."""

    goal = "predict the last digit of a palindrome from all digits before it"
    inputs = "digits of a palindrome, all but the last"
    symbols = classes = DIGITS
