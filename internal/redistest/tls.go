package redistest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// CA is a certificate authority of a test's own.
type CA struct {
	// File holds its certificate in PEM form.
	File string

	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64 // serial number
}

// NewCA makes a CA whose files live until the test ends.
func NewCA(tb testing.TB) *CA {
	tb.Helper()
	ca := &CA{tb: tb, dir: tb.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca.last = 1
	ca.key = ca.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err != nil {
		tb.Fatalf("make CA: %v", err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatalf("make CA: %v", err)
	}
	ca.File = ca.write("ca.crt", "CERTIFICATE", der)
	return ca
}

// Issue writes a certificate for server and client use and its key, named after name; hosts are DNS names and IP addresses. It ends at until; the zero
// time is a day from now. A second one of the same name replaces the first.
func (ca *CA) Issue(name string, until time.Time, hosts ...string) (certFile, keyFile string) {
	ca.tb.Helper()
	if until.IsZero() {
		until = time.Now().Add(24 * time.Hour)
	}
	ca.last++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(ca.last), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	key := ca.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		ca.tb.Fatalf("issue certificate %s: %v", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.tb.Fatalf("issue certificate %s: %v", name, err)
	}
	return ca.write(name+".crt", "CERTIFICATE", der), ca.write(name+".key", "PRIVATE KEY", keyDER)
}

func (ca *CA) newKey() *ecdsa.PrivateKey {
	ca.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.tb.Fatalf("make key: %v", err)
	}
	return key
}

func (ca *CA) write(name, kind string, der []byte) string {
	ca.tb.Helper()
	path := filepath.Join(ca.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.tb.Fatalf("write %s: %v", path, err)
	}
	return path
}

// TLSServer is a server that answers TLS on a port of its own, besides the plain one that Server's methods speak of.
type TLSServer struct {
	*Server
	port int
}

// StartTLS starts a server with a certificate of ca for hosts, 127.0.0.1 and localhost when there are none. With clients it asks for a client
// certificate of ca.
func StartTLS(tb testing.TB, ca *CA, clients bool, hosts []string, opts ...Option) *TLSServer {
	tb.Helper()
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1", "localhost"}
	}
	cert, key := ca.Issue("server", time.Time{}, hosts...)
	return StartTLSWith(tb, ca.File, cert, key, clients, opts...)
}

// StartTLSWith is StartTLS with certificates from files.
func StartTLSWith(tb testing.TB, caFile, certFile, keyFile string, clients bool, opts ...Option) *TLSServer {
	tb.Helper()
	auth := "no"
	if clients {
		auth = "yes"
	}
	s := &TLSServer{port: freeTLSPort(tb)}
	s.Server = Start(tb, append([]Option{Args("--tls-port", strconv.Itoa(s.port), "--tls-ca-cert-file", caFile, "--tls-cert-file", certFile,
		"--tls-key-file", keyFile, "--tls-auth-clients", auth)}, opts...)...)
	return s
}

// freeTLSPort draws a port that others here do not draw, with a cluster bus below the ports that systems use for outgoing connections.
func freeTLSPort(tb testing.TB) int {
	tb.Helper()
	const first, end = 20000, 22700
	for range portTries {
		if port := first + mathrand.IntN(end-first); free(port) && free(port+busOffset) {
			return port
		}
	}
	tb.Fatalf("no free port on 127.0.0.1 in %d tries", portTries)
	return 0
}

// TLSAddr returns host:port of the TLS port.
func (s *TLSServer) TLSAddr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// TLSURL returns rediss://host:port/0.
func (s *TLSServer) TLSURL() string { return "rediss://" + s.TLSAddr() + "/0" }

// StartTLSCluster starts a Redis Cluster of so many nodes that talk TLS to clients and to each other.
func StartTLSCluster(tb testing.TB, ca *CA, clients bool, nodes int) []*TLSServer {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	var servers []*TLSServer
	var first *redis.Client
	for i := range nodes {
		s := StartTLS(tb, ca, clients, nil, Args("--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-node-timeout", "5000"))
		servers = append(servers, s)
		cl := s.Client(tb)
		if err := cl.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			tb.Fatalf("set epoch of cluster node %s: %v", s.TLSAddr(), err)
		}
		if err := cl.ClusterAddSlotsRange(ctx, slots*i/nodes, slots*(i+1)/nodes-1).Err(); err != nil {
			tb.Fatalf("give slots to cluster node %s: %v", s.TLSAddr(), err)
		}
		if i == 0 {
			first = cl
		} else if err := first.ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(s.port)).Err(); err != nil {
			tb.Fatalf("introduce cluster node %s: %v", s.TLSAddr(), err)
		}
	}
	for _, s := range servers {
		if err := awaitWhole(ctx, s.Client(tb), nodes); err != nil {
			tb.Fatalf("cluster node %s: %v", s.TLSAddr(), err)
		}
	}
	return servers
}

// StartTLSSentinel starts a sentinel that watches master under a name and talks TLS to it and to clients, whom it asks for a certificate of ca. It
// lives until the test ends. It returns host:port.
func StartTLSSentinel(tb testing.TB, ca *CA, master *TLSServer, name string) (addr string) {
	tb.Helper()
	port := freeTLSPort(tb)
	addr = "127.0.0.1:" + strconv.Itoa(port)
	cert, key := ca.Issue("sentinel", time.Time{}, "127.0.0.1")
	dir := tb.TempDir()
	conf, log := filepath.Join(dir, "sentinel.conf"), filepath.Join(dir, "sentinel.log")
	text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1\nport 0\ntls-port %d\nbind 127.0.0.1\ndir %s\nlogfile %s\n"+
		"tls-replication yes\ntls-ca-cert-file %s\ntls-cert-file %s\ntls-key-file %s\n", name, master.port, port, dir, log, ca.File, cert, key)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatalf("write %s: %v", conf, err)
	}
	p, err := launch(exec.Command(lookup(tb), conf, "--sentinel"))
	if err != nil {
		tb.Fatalf("start sentinel: %v", err)
	}
	tb.Cleanup(func() {
		_ = p.os.Kill()
		<-p.done
	})
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c := redis.NewSentinelClient(&redis.Options{Addr: addr, TLSConfig: ca.TLSConfig()})
	defer func() { _ = c.Close() }()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for c.GetMasterAddrByName(ctx, name).Err() != nil {
		select {
		case <-p.done:
			text, _ := os.ReadFile(log)
			tb.Fatalf("the sentinel ended at once; it says:\n%s", text)
		case <-ctx.Done():
			tb.Fatalf("the sentinel on %s does not answer within %s", addr, startTimeout)
		case <-tick.C:
		}
	}
	return addr
}

// TLSConfig trusts ca, and has a client certificate of it.
func (ca *CA) TLSConfig() *tls.Config {
	ca.tb.Helper()
	cert, key := ca.Issue("helper", time.Time{})
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		ca.tb.Fatalf("read certificate: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}
