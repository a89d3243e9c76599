package alert

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks (www.standardwebhooks.com). The signature is there when a secret is.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp" // of the attempt, in seconds since 1970
	HeaderSignature = "Webhook-Signature" // "v1," and base64, one for each secret, parted by blanks
)

const (
	secretPrefix = "whsec_"
	minSecret    = 16 // bytes
	maxSecrets   = 5
)

// Secret is the key of a signature. It never prints.
type Secret struct{ key []byte }

// String is a mask.
func (Secret) String() string { return masked }

// GoString is a mask.
func (Secret) GoString() string { return masked }

// ParseSecrets reads the text of a secret file: a secret a line, the newest first, at most five, at least one. A secret is whsec_ and base64 of at least 16 bytes, or any other
// text of at least 16 bytes, which is taken as it is. Blank lines and lines that begin with # are left out. Messages are signed with every one of them, so that
// receivers can change over.
func ParseSecrets(text string) ([]Secret, error) {
	var out []Secret
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key := []byte(line)
		if code, ok := strings.CutPrefix(line, secretPrefix); ok {
			var err error
			if key, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(code, "=")); err != nil {
				return nil, fmt.Errorf("line %d: what follows %s is not base64; make one with: echo whsec_$(openssl rand -base64 32)", i+1, secretPrefix)
			}
		}
		if len(key) < minSecret {
			return nil, fmt.Errorf("line %d: a secret of %d bytes is too short: give at least %d; make one with: echo whsec_$(openssl rand -base64 32)", i+1, len(key), minSecret)
		}
		out = append(out, Secret{key})
	}
	switch {
	case len(out) == 0:
		return nil, errors.New("holds no secret; make one with: echo whsec_$(openssl rand -base64 32)")
	case len(out) > maxSecrets:
		return nil, fmt.Errorf("holds %d secrets: keep at most %d", len(out), maxSecrets)
	}
	return out, nil
}

// sign gives the value of HeaderSignature.
func sign(secrets []Secret, id string, at time.Time, body []byte) string {
	parts := make([]string, len(secrets))
	for i, s := range secrets {
		mac := hmac.New(sha256.New, s.key)
		fmt.Fprintf(mac, "%s.%s.", id, strconv.FormatInt(at.Unix(), 10))
		mac.Write(body)
		parts[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(parts, " ")
}
