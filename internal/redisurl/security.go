package redisurl

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

// Security is what secures connections besides the URL. The zero value is the system's CAs, no client certificate, and the URL's password.
// Files are read when the URL is parsed and again for every connection, so that they can be renewed without a restart.
type Security struct {
	// CAFile holds the certificates, in PEM form, of the CAs that servers' certificates must be signed by. Empty: the system's.
	CAFile string
	// CertFile and KeyFile hold the client's certificate and its key, in PEM form, the key without a passphrase. Empty: none.
	CertFile, KeyFile string
	// ServerName is the name that servers' certificates must be for. Empty: the host that is dialed.
	ServerName string
	// PasswordFile holds the password of the URL's user, without which it is the default user's. One line break at its end is left out.
	PasswordFile string
}

// Settings by which a *SettingError and a *TLSError name the parts of a Security: the flags of the command line.
const (
	SettingCA           = "redis-tls-ca"
	SettingCert         = "redis-tls-cert"
	SettingKey          = "redis-tls-key"
	SettingServerName   = "redis-tls-server-name"
	SettingPasswordFile = "redis-password-file" //nolint:gosec // a setting's name
)

// SettingError says what is wrong with one part of a Security.
type SettingError struct {
	// Setting is the part, one of the constants; Value is what it was.
	Setting, Value string
	// Problem says what is wrong and what to do; it may name other settings.
	Problem string
}

// Error returns one line: setting, value, problem.
func (e *SettingError) Error() string { return fmt.Sprintf("%s %q: %s", e.Setting, e.Value, e.Problem) }

var settingName = regexp.MustCompile(`(^|[ (])(` + strings.Join([]string{SettingServerName, SettingPasswordFile, SettingCert, SettingKey, SettingCA}, "|") + `)($|[ ,;:)])`)

// Rename writes the settings that an error's text names in another way: as flags, as fields. It leaves paths alone that hold such a name.
func Rename(text string, as func(setting string) string) string {
	return settingName.ReplaceAllStringFunc(text, func(found string) string {
		m := settingName.FindStringSubmatch(found)
		return m[1] + as(m[2]) + m[3]
	})
}

// check says what is wrong with a Security for a target; user is that of the URL.
func (s Security) check(t *Target, user *url.Userinfo) error {
	for _, e := range []SettingError{{Setting: SettingCA, Value: s.CAFile}, {Setting: SettingCert, Value: s.CertFile}, {Setting: SettingKey, Value: s.KeyFile},
		{Setting: SettingServerName, Value: s.ServerName}} {
		if e.Value != "" && !t.TLS {
			e.Problem = fmt.Sprintf("the Redis URL %s is without TLS: begin it with rediss instead of redis", t)
			return &e
		}
	}
	if t.TLS {
		if _, err := s.tlsConfig(""); err != nil {
			return err
		}
	}
	if s.PasswordFile == "" {
		return nil
	}
	if user != nil {
		if _, ok := user.Password(); ok {
			return &SettingError{SettingPasswordFile, s.PasswordFile, "the Redis URL has a password, too: leave one of them out"}
		}
	}
	_, err := s.password()
	return err
}

// password reads the file.
func (s Security) password() (string, error) {
	fail := func(problem string) (string, error) {
		return "", &SettingError{SettingPasswordFile, s.PasswordFile, problem}
	}
	data, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return fail(unreadable(err) + ": name a file that holds the password and nothing else")
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case text == "":
		return fail("is empty: write the password into it")
	case len(text) > 4096 || hasControl(text):
		return fail("holds more than a password: write nothing else into it, on one line")
	}
	return text, nil
}

// tlsConfig reads the files for a connection to a host.
func (s Security) tlsConfig(host string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if s.ServerName != "" {
		cfg.ServerName = s.ServerName
	}
	if s.CAFile != "" {
		data, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, &SettingError{SettingCA, s.CAFile, unreadable(err) + ": name the PEM file of the CA that signed the server's certificate"}
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(data) {
			return nil, &SettingError{SettingCA, s.CAFile, "holds no certificate in PEM form: name the file of the CA that signed the server's certificate"}
		}
	}
	switch {
	case s.CertFile == "" && s.KeyFile == "":
		return cfg, nil
	case s.KeyFile == "":
		return nil, &SettingError{SettingCert, s.CertFile, "has no key: name the file of its key with " + SettingKey}
	case s.CertFile == "":
		return nil, &SettingError{SettingKey, s.KeyFile, "has no certificate: name its file with " + SettingCert}
	}
	cert, err := s.clientCertificate()
	if err != nil {
		return nil, err
	}
	// Sent whatever CAs the server says it knows: if it minds, it says so.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return cfg, nil
}

func (s Security) clientCertificate() (tls.Certificate, error) {
	certFail := func(problem string) (tls.Certificate, error) {
		return tls.Certificate{}, &SettingError{SettingCert, s.CertFile, problem}
	}
	keyFail := func(problem string) (tls.Certificate, error) {
		return tls.Certificate{}, &SettingError{SettingKey, s.KeyFile, problem}
	}
	certPEM, err := os.ReadFile(s.CertFile)
	if err != nil {
		return certFail(unreadable(err) + ": name the PEM file of this program's certificate")
	}
	keyPEM, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return keyFail(unreadable(err) + ": name the PEM file of the certificate's key")
	}
	certs, keys := blocks(certPEM), blocks(keyPEM)
	switch {
	case !strings.Contains(certs, "CERTIFICATE"):
		return certFail("holds no certificate in PEM form: name the file of this program's certificate")
	case strings.Contains(keys, "ENCRYPTED") || strings.Contains(string(keyPEM), "Proc-Type: 4,ENCRYPTED"):
		return keyFail("asks for a passphrase: store the key without one, readable by this program's user alone")
	case !strings.Contains(keys, "PRIVATE KEY"):
		return keyFail("holds no private key in PEM form: name the file of the certificate's key")
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), "tls: ")
		if strings.Contains(reason, "does not match") {
			return keyFail("is not the key of the certificate " + s.CertFile + ": name the one it was made with")
		}
		return certFail("cannot be used with the key " + s.KeyFile + ": " + reason)
	}
	switch now := time.Now(); {
	case now.After(cert.Leaf.NotAfter):
		return certFail("expired at " + cert.Leaf.NotAfter.UTC().Format(time.RFC3339) + ": renew it")
	case now.Before(cert.Leaf.NotBefore):
		return certFail("is not valid before " + cert.Leaf.NotBefore.UTC().Format(time.RFC3339) + ": wait, or set this host's clock right")
	}
	return cert, nil
}

// blocks are the types of the PEM blocks, on a line each.
func blocks(data []byte) string {
	var types []string
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return strings.Join(types, "\n")
		}
		types = append(types, b.Type)
	}
}

// unreadable says why a file cannot be read; the path is said elsewhere.
func unreadable(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return "cannot be read (" + err.Error() + ")"
}
