"""Downloads over HTTPS only, also after a redirect."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from email.message import Message
    from typing import IO


def https_opener() -> urllib.request.OpenerDirector:
    """Opens addresses as urllib does, but follows a redirection to https only: no other address is ever requested."""
    return urllib.request.build_opener(_HttpsRedirects)


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """Raises BadInputError before the redirection is followed, if it leaves https."""
        if not newurl.lower().startswith("https://"):
            raise BadInputError(f"{req.full_url}: redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]  # typeshed's headers
