package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const addressOf = 5 * time.Second // how long a name's address is used without asking again

// qualified is a Service's name with all of its domain. Resolvers try a short one in one domain after another, and where
// the first question is lost, since a server of the cluster's DNS died with its node, the last answer is that there is no
// such name. Of this one they say that they do not know.
func qualified(host, resolvConf string) string {
	if strings.Contains(host, ".") {
		return host
	}
	lines := bufio.NewScanner(strings.NewReader(resolvConf))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 1 && fields[0] == "search" && strings.Contains(fields[1], ".svc.") {
			return host + "." + strings.TrimSuffix(fields[1], ".") + "."
		}
	}
	return host
}

func ofThisPod(host string) string {
	text, _ := os.ReadFile("/etc/resolv.conf")
	return qualified(host, string(text))
}

// nameCache: what is measured are the services, not the cluster's DNS at every new connection.
type nameCache struct {
	mutex sync.Mutex
	known map[string]cachedName
}

type cachedName struct {
	address string
	until   time.Time
}

func (n *nameCache) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host, err = n.find(ctx, host); err != nil {
		return nil, err
	}
	return dialFromOwnPort(ctx, network, net.JoinHostPort(host, port))
}

// The kernel takes source ports at random, and so takes one again that a connection to a dead node has used: a
// Service's address then still means the dead pod to it, for the two minutes that connection tracking remembers a
// handshake nobody answered. Here every connection has a port that none had for longer than that, at the rates at which
// something is cut off: some 100 new connections a second at most.
var lastPort atomic.Uint32

const (
	firstPort      = 1024
	portsPerSecond = 250 // between the beginnings of runs: those that follow each other share none
	portTries      = 4096
)

func init() { lastPort.Store(uint32(time.Now().UnixMilli() * portsPerSecond / 1000 % (1 << 16))) }

func dialFromOwnPort(ctx context.Context, network, address string) (conn net.Conn, err error) {
	for range portTries { // a process that has just ended may have left ports in TIME_WAIT, one beside the other
		port := firstPort + int(lastPort.Add(1)%(1<<16-firstPort))
		dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{Port: port}}
		if conn, err = dialer.DialContext(ctx, network, address); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return conn, err
}

func (n *nameCache) find(ctx context.Context, host string) (string, error) {
	n.mutex.Lock()
	old, found := n.known[host]
	n.mutex.Unlock()
	if net.ParseIP(host) != nil || found && time.Now().Before(old.until) {
		return or(old.address, host), nil
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, ofThisPod(host))
	if err != nil || len(addresses) == 0 {
		if found { // the last answer is better than none
			return old.address, nil
		}
		return "", err
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.known[host] = cachedName{addresses[0], time.Now().Add(addressOf)}
	return addresses[0], nil
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
