package redisurl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// lastWords is how long a broken connection is read for the reason.
const lastWords = 50 * time.Millisecond

// defaultDialTimeout is that of the Redis library.
const defaultDialTimeout = 5 * time.Second

// TLSError says why there is no TLS connection, and what to do. It may name settings; see Rename.
type TLSError struct {
	// Addr is the server, host:port.
	Addr    string
	problem string
	cause   error
}

// Error returns one line: address, what is wrong, what to do.
func (e *TLSError) Error() string { return "TLS with " + e.Addr + ": " + e.problem }

// Unwrap returns the cause, an error of crypto/tls, crypto/x509 or the network. It is a list since the Redis library strips errors that wrap one.
func (e *TLSError) Unwrap() []error { return []error{e.cause} }

// dialer connects and shakes hands within timeout; 0 is the library's default. The files are read for each connection.
func (s Security) dialer(timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if timeout <= 0 {
		timeout = defaultDialTimeout
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		cfg, err := s.tlsConfig(host)
		if err != nil {
			return nil, err
		}
		raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, cfg)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, s.explain(addr, cfg.ServerName, err)
		}
		return &freshConn{Conn: conn, explain: func(err error) error { return s.explain(addr, cfg.ServerName, err) }}, nil
	}
}

// freshConn explains why a server ends a connection before its first answer: with TLS 1.3 it judges the client's certificate after the client
// believes the handshake done.
type freshConn struct {
	net.Conn
	answered atomic.Bool
	explain  func(error) error
}

// Read reads from the server.
func (c *freshConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, c.judge(err)
}

// Write writes to the server.
func (c *freshConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil && !c.answered.Load() {
		// The server has gone; what it said before that may still be read.
		_ = c.SetReadDeadline(time.Now().Add(lastWords))
		var alert *net.OpError
		if _, readErr := c.Conn.Read(make([]byte, 1)); errors.As(readErr, &alert) && alert.Op == "remote error" {
			err = readErr
		}
	}
	return n, c.judge(err)
}

func (c *freshConn) judge(err error) error {
	if err == nil || c.answered.Load() || errors.Is(err, net.ErrClosed) {
		return err
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	return c.explain(err)
}

// explain makes an error of the handshake, or of the time until the first answer, one that says what to do.
func (s Security) explain(addr, name string, err error) error {
	e := &TLSError{Addr: addr, cause: err}
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &unknown) && s.CAFile == "":
		e.problem = "the server's certificate is signed by no CA that this host trusts: name the CA's file with " + SettingCA
	case errors.As(err, &unknown):
		e.problem = fmt.Sprintf("the server's certificate is not signed by a CA in %s: name the file of the CA that signed it with %s", s.CAFile, SettingCA)
	case errors.As(err, &hostname):
		e.problem = hostnameProblem(hostname, name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		e.problem = expiredProblem(invalid.Cert)
	case errors.As(err, &invalid):
		e.problem = fmt.Sprintf("the server's certificate is not accepted: %v: have it issued anew", invalid)
	case errors.As(err, &record):
		e.problem = "the server does not speak TLS on this port: use its TLS port, or begin the URL with redis instead of rediss"
	case errors.As(err, &op) && op.Op == "remote error":
		e.problem = s.refusedProblem(op.Err.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.problem = "the server does not answer the handshake: is this its TLS port?"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.problem = s.refusedProblem("it ended the connection")
	default:
		e.problem = strings.TrimPrefix(err.Error(), "tls: ")
	}
	return e
}

// refusedProblem is for a server that ends the handshake, by an alert or without a word.
func (s Security) refusedProblem(why string) string {
	why = strings.TrimPrefix(why, "tls: ")
	switch {
	case strings.Contains(why, "protocol version"):
		return "the server speaks no TLS 1.2 or later (" + why + "): allow that in its tls-protocols"
	case s.CertFile == "" && strings.Contains(why, "certificate"):
		return fmt.Sprintf("the server asks for a client certificate (%s): name one with %s and %s", why, SettingCert, SettingKey)
	case s.CertFile == "":
		return fmt.Sprintf("the server refuses (%s): if it asks for a client certificate, name one with %s and %s", why, SettingCert, SettingKey)
	default:
		return fmt.Sprintf("the server refuses (%s), perhaps the client certificate %s: name one with %s that its CA signed", why, s.CertFile, SettingCert)
	}
}

func hostnameProblem(e x509.HostnameError, name string) string {
	const most = 5
	var names []string
	if e.Certificate != nil {
		names = slices.Clone(e.Certificate.DNSNames)
		for _, ip := range e.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
	}
	if len(names) == 0 {
		return fmt.Sprintf("the server's certificate names no host (subjectAltName): have it issued for %s", name)
	}
	more := ""
	if len(names) > most {
		names, more = names[:most], ", …"
	}
	return fmt.Sprintf("the server's certificate is for %s%s, not for %s: if it is the right server, say its name with %s", strings.Join(names, ", "), more, name, SettingServerName)
}

func expiredProblem(cert *x509.Certificate) string {
	if now := time.Now(); now.Before(cert.NotBefore) {
		return fmt.Sprintf("the server's certificate is not valid before %s, and this host's clock says %s: set the clock right",
			cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("the server's certificate expired at %s: renew it on the server", cert.NotAfter.UTC().Format(time.RFC3339))
}
