package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

const (
	readers   = 16               // at a time
	readAgain = 30 * time.Second // a replica that does not answer is asked again for so long: what is asked is what it knows
	lostKept  = 20
)

// verdict is what reading the journal back came to.
type verdict struct {
	Writes   int      `json:"writes"`
	Replicas int      `json:"replicas"`
	Reads    int      `json:"reads"`
	Lost     int      `json:"lost"`  // by replica: a write that three lack counts three times
	First    []string `json:"first"` // of what was lost

	mutex sync.Mutex
}

// verify reads every write of the journal from every replica. Targets are lists of addresses, separated by commas.
func verify(ctx context.Context, o *options) error {
	file, err := os.Open(o.journal)
	if err != nil {
		return err
	}
	defer file.Close()
	all, err := readJournal(file)
	if err != nil {
		return err
	}
	v := &verdict{Writes: len(all), First: []string{}}
	var notes, places []written
	for _, one := range all {
		if one.isNote() {
			notes = append(notes, one)
		} else {
			places = append(places, one)
		}
	}
	callers := newHTTPCaller()
	defer callers.close()
	for _, address := range addresses(o.notes) {
		v.read(ctx, address, notes, func(ctx context.Context, one written) error {
			return readNote(ctx, callers.keepAlive, address, one)
		})
	}
	for _, address := range addresses(o.store) {
		var c *grpc.ClientConn
		if c, err = channel(address); err != nil {
			return err
		}
		v.read(ctx, address, places, func(ctx context.Context, one written) error { return readPlace(ctx, c, one) })
		_ = c.Close()
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}

func addresses(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// read asks one replica for each of the writes.
func (v *verdict) read(ctx context.Context, replica string, all []written, one func(context.Context, written) error) {
	v.Replicas++
	work := make(chan written)
	var group sync.WaitGroup
	for range readers {
		group.Add(1)
		go func() {
			defer group.Done()
			for each := range work {
				v.count(replica, each, v.persistently(ctx, func(ctx context.Context) error { return one(ctx, each) }))
			}
		}()
	}
	for _, each := range all {
		work <- each
	}
	close(work)
	group.Wait()
}

// persistently tries again for a while, unless enough has been lost already.
func (v *verdict) persistently(ctx context.Context, try func(context.Context) error) (err error) {
	deadline := time.Now().Add(readAgain)
	for {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = try(limited)
		cancel()
		if err == nil || v.hopeless() || time.Now().After(deadline) || !sleepUntil(ctx, time.Now().Add(retryPause)) {
			return err
		}
	}
}

func (v *verdict) hopeless() bool {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	return v.Lost >= lostKept
}

func (v *verdict) count(replica string, one written, err error) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	v.Reads++
	if err == nil {
		return
	}
	v.Lost++
	if len(v.First) < lostKept {
		v.First = append(v.First, fmt.Sprintf("%s: %s: %v", replica, one.Content, err))
	}
}
