package alert

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// slackHost takes Slack's format alone, whatever is configured.
const slackHost = "hooks.slack.com"

// ParseURL reads the address of a webhook: http or https, with a host. Errors do not show the address, which is a secret as a whole.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is no URL; write such as https://example.com/hooks/1")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("must begin with https:// or http://")
	case u.Hostname() == "":
		return nil, errors.New("has no host; write such as https://example.com/hooks/1")
	case u.Fragment != "":
		return nil, errors.New("must have no fragment (#): percent-encode it as %23")
	}
	return u, nil
}

// ParseLink reads the address of a dashboard, under which messages link to schedules and runs: http or https, with a host, without a password, query and
// fragment. Empty text is no link.
func ParseLink(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := ParseURL(text)
	switch {
	case err != nil:
		return "", err
	case u.User != nil:
		return "", errors.New("must have no user and password: every message shows it")
	case u.RawQuery != "" || u.ForceQuery:
		return "", errors.New("must have no query (?)")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

const masked = "***"

// MaskURL shows of a webhook's address the scheme and the host: the rest of it is what lets people post. Several addresses may be parted by commas. What
// cannot be taken apart is masked whole. A masked address stays as it is.
func MaskURL(text string) string {
	if text == "" {
		return ""
	}
	parts := strings.Split(text, ",")
	for i, part := range parts {
		u, err := ParseURL(strings.TrimSpace(part))
		switch {
		case err != nil:
			parts[i] = masked
		case strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.User == nil:
			parts[i] = fmt.Sprintf("%s://%s", u.Scheme, u.Host)
		default:
			parts[i] = fmt.Sprintf("%s://%s/%s", u.Scheme, u.Host, masked)
		}
	}
	return strings.Join(parts, ",")
}
