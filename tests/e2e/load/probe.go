package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const probeTimeout = 3 * time.Second

// probe says of each address whether a TCP connection opens: "open", "refused" or "closed" (no answer in time).
func probe(ctx context.Context, list []string) error {
	found := map[string]string{}
	var mutex sync.Mutex
	var group sync.WaitGroup
	for _, address := range list {
		group.Add(1)
		go func() {
			defer group.Done()
			answer := knock(ctx, address)
			mutex.Lock()
			defer mutex.Unlock()
			found[address] = answer
		}()
	}
	group.Wait()
	return json.NewEncoder(os.Stdout).Encode(found)
}

func knock(ctx context.Context, address string) string {
	dialer := net.Dialer{Timeout: probeTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused"
	} else if err != nil {
		return "closed"
	}
	_ = conn.Close()
	return "open"
}
