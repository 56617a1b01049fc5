"""Lets tccli, which knows TLS only, speak plain HTTP to the fake. Nothing else of it is changed."""

try:
    from tencentcloud.common.profile import http_profile

    made = http_profile.HttpProfile.__init__

    def plain(self, *arguments, **named):
        made(self, *arguments, **named)
        self.protocol = self.scheme = "http"

    http_profile.HttpProfile.__init__ = plain
except ImportError:
    pass
