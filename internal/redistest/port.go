package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

var errPortTaken = errors.New("the port is taken")

const (
	// Ports are drawn below the range that systems use for outgoing connections, so that nobody takes a server's port while it is down.
	// A cluster node's second port lies busOffset above its first.
	firstPort, endPort = 10000, 20000
	busOffset          = 10000
	portTries          = 50
)

// startOnFreePort draws a port until the server has it.
func (s *Server) startOnFreePort() error {
	for range portTries {
		s.port = firstPort + rand.IntN(endPort-firstPort)
		if !free(s.port) || !free(s.port+busOffset) {
			continue
		}
		if err := s.start(); !errors.Is(err, errPortTaken) {
			return err
		}
		// The next try must not read this one's complaint.
		if err := s.log.Truncate(0); err != nil {
			return err
		}
	}
	return fmt.Errorf("no free port on 127.0.0.1 in %d tries", portTries)
}

func free(port int) bool {
	l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
