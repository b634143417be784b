"""What an object store or its client raises, as one sentence: what was wrong, what was found, what
to do, and never a secret.

The clients (s3fs, botocore, aiohttp) are not imported: their errors are told by their names, so
this works, and costs nothing, where none of them is installed. What may pass by itself becomes an
OSError and is worth another try; what the user must change becomes a FileNotFoundError,
PermissionError or ValueError.
"""

import functools
import os
import re
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

CLIENTS = {"aiobotocore", "aiohttp", "botocore", "s3fs"}
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
NO_CREDENTIALS = {
    "CredentialRetrievalError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
}
LONGEST_TEXT = 200  # characters of a client's own message; some print whole regular expressions

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def with_plain_errors(
    function: Callable[Concatenate[str, Arguments], Result],
) -> Callable[Concatenate[str, Arguments], Result]:
    """Make a function of a URL raise what `explain` says instead of what a client raised."""

    @functools.wraps(function)
    def call(url: str, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(url, *args, **kwargs)
        except Exception as error:
            plain = explain(error, str(url))
            if plain is None:
                raise
            raise plain from None

    return call


def explain(error: Exception, url: str = "the object store") -> Exception | None:
    """Return an error of an object store as a plain one; None when it is something else."""
    if isinstance(error, ImportError) and "://" in url:
        extra = "pip install s3fs" if url.startswith("s3") else "install it"
        return ValueError(f"{url} needs a package that is not here ({error}): {extra}")
    is_remote = "://" in url and not url.startswith("file://")
    is_clients = any(kind.__module__.split(".")[0] in CLIENTS for kind in type(error).__mro__)
    if not is_clients and not (is_remote and isinstance(error, OSError | ValueError)):
        return None
    text = _tidy(str(error))
    keys = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    codes = {_code(error), _code(error.__cause__)}
    if "InvalidRange" in codes:
        return ValueError(f"{url}: it ends before the bytes that were asked for")
    if "NoSuchBucket" in codes:
        return ValueError(f"{url}: {text}: check its name and AWS_ENDPOINT_URL, or make it")
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{url}: No such file or directory")
    if isinstance(error, PermissionError):
        return PermissionError(f"{url}: access is refused ({text}): {keys}, and their rights")
    if {kind.__name__ for kind in type(error).__mro__} & NO_CREDENTIALS:
        return PermissionError(f"{url}: no credentials ({text}): {keys}")
    if isinstance(error, ValueError) or "Validation" in type(error).__name__:
        return ValueError(f"{url}: {text}: check the address and AWS_ENDPOINT_URL")
    return ConnectionError(f"{url}: {text}: check the network and AWS_ENDPOINT_URL")


def _code(error: BaseException | None) -> str:
    """What the store itself called the error, such as `NoSuchBucket`."""
    response = getattr(error, "response", None)
    found = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(found.get("Code", ""))


def _tidy(text: str) -> str:
    for name in SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    text = re.sub(r"//[^/@\s]*@", "//***@", " ".join(text.split()))
    return text[:LONGEST_TEXT].rstrip(" .")
