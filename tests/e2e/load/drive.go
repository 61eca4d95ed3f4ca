package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	maxInFlight = 10000                  // beyond it the generator is what is too slow
	lateness    = 250 * time.Millisecond // a request that starts later than this has missed its turn
	retryPause  = 50 * time.Millisecond
)

// kind is a kind of request: do makes one, and says why it failed. It must be given up when its context ends, and must
// mean the same when repeated with the same number.
type kind struct {
	name   string
	weight int
	do     func(ctx context.Context, number int64) error
}

// drive starts each request at its time, whether or not those before have been answered, until ctx ends; then it waits
// for what is under way.
func drive(ctx context.Context, o *options, kinds []kind, recorder *recorder) {
	order := mixed(kinds)
	slots := make(chan struct{}, maxInFlight)
	var group sync.WaitGroup
	began := recorder.begin()
	interval := float64(time.Second) / o.rate
	for number := int64(0); ; number++ {
		intended := began.Add(time.Duration(float64(number) * interval))
		if !sleepUntil(ctx, intended) {
			break
		}
		k := &order[number%int64(len(order))]
		select {
		case slots <- struct{}{}:
		default:
			recorder.missed()
			continue
		}
		group.Add(1)
		go func() {
			defer group.Done()
			request(o, k, number, intended, recorder)
			<-slots
		}()
	}
	group.Wait()
}

func sleepUntil(ctx context.Context, when time.Time) bool {
	if wait := time.Until(when); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// request is timed from when it was meant to start, so a generator that is behind makes no latency look better.
func request(o *options, k *kind, number int64, intended time.Time, recorder *recorder) {
	late := time.Since(intended) > lateness
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(o.timeout))
	defer cancel()
	first := error(nil)
	err := k.do(ctx, number)
	for attempt := 0; err != nil && attempt < o.retry && sleepUntil(ctx, time.Now().Add(retryPause)); attempt++ {
		if first == nil {
			first = err
		}
		err = k.do(ctx, number)
	}
	recorder.add(record{Kind: k.name, Start: intended, Latency: time.Since(intended), Err: err, First: first, Late: late})
}

// mixed is a fixed order in which kinds come as often as they weigh.
func mixed(kinds []kind) []kind {
	var order []kind
	for _, k := range kinds {
		for range k.weight {
			order = append(order, k)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}
