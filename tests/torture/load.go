package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	repeatProcess = -200                    // none of the load's
	listProcess   = 1000                    // nor this
	listPause     = 3 * time.Second         // between lists while clients write
	serverTimeout = 2000 * time.Millisecond // what a service may take
	clientTimeout = 3000 * time.Millisecond // and then nobody waits any more
	keyOps        = 40                      // operations on a key: a longer history says no more, and takes long to judge
	keyUnknown    = 4                       // of which so many may have an unknown result
	keysInUse     = 4                       // at a time, so that clients meet
	maxRepeated   = 500                     // requests of each service, at the end
	createTime    = 20 * time.Second        // for which a creation is repeated
)

var errDial = errors.New("no connection")

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDial, err)
	}
	return conn, nil
}

// load is what all clients share.
type load struct {
	history *History
	targets map[string][]string // service -> addresses
	pace    time.Duration       // between a client's operations
	stop    chan struct{}
	clients sync.WaitGroup
	names   atomic.Int64
	strange sync.Map // answer that should not be -> count

	restorations atomic.Int64 // of etcd, from a snapshot, that have begun
}

func (l *load) name(process int) string { return fmt.Sprintf("w%d-%d", process, l.names.Add(1)) }

func (l *load) target(service string, random *rand.Rand) string {
	addresses := l.targets[service]
	return addresses[random.IntN(len(addresses))]
}

// again says whether a request is to be repeated with its idempotency key: not behind a restoration, which may have taken
// back what the request did before, so that it would be done, and be seen, twice.
func (l *load) again(deadline time.Time, restorations int64) bool {
	return time.Now().Before(deadline) && l.restorations.Load() == restorations
}

func (l *load) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *load) note(answer string) {
	count, _ := l.strange.LoadOrStore(answer, new(atomic.Int64))
	count.(*atomic.Int64).Add(1)
}

// run starts clients that each do one operation after the other until stop is closed.
func (l *load) run(clients int, seed uint64, first int, operation func(process int, random *rand.Rand)) {
	for i := range clients {
		process := first + i
		l.clients.Add(1)
		go func() {
			defer l.clients.Done()
			random := rand.New(rand.NewPCG(seed, uint64(process)))
			for !l.stopped() {
				operation(process, random)
				time.Sleep(l.pace)
			}
		}()
	}
}

// each calls work for all of 0..count-1, in so many goroutines.
func each(count, goroutines int, work func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range goroutines {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				work(i)
			}
		}()
	}
	group.Wait()
}
