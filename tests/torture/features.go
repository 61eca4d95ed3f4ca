package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// featuresLoad saves and reads at a few points at a time, each for so many operations.
type featuresLoad struct {
	*load
	grpc  *grpcClient
	mutex sync.Mutex
	slots [keysInUse]*hotPoint
	all   []*hotPoint
	made  []Op // saves that were acknowledged
}

type hotPoint struct {
	latitude, longitude int
	ops, unknown        int
}

func (p *hotPoint) key() string { return fmt.Sprintf("%d,%d", p.latitude, p.longitude) }

func (p *hotPoint) message() []byte {
	return appendNumber(appendNumber(nil, 1, uint64(p.latitude)), 2, uint64(p.longitude))
}

func (p *hotPoint) named(name string) []byte {
	return appendBytes(appendBytes(nil, 1, []byte(name)), 2, p.message())
}

func (f *featuresLoad) resultOf(code int) string {
	switch code {
	case codeOK:
		return ok
	case notSent, codeUnavail, codeExhausted:
		return refused
	case noAnswer, 1, 4, codeAborted: // cancelled, deadline exceeded, running already
	default:
		f.note(fmt.Sprintf("feature-store: status %d", code))
	}
	return unknown
}

func (f *featuresLoad) take(random *rand.Rand) *hotPoint {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	slot := random.IntN(keysInUse)
	point := f.slots[slot]
	if point == nil || point.ops >= keyOps || point.unknown >= keyUnknown {
		number := len(f.all) + 1
		point = &hotPoint{latitude: 1000 + number, longitude: 1 + number%1000}
		f.slots[slot] = point
		f.all = append(f.all, point)
	}
	point.ops++
	return point
}

// save repeats the call until there is an answer, with one idempotency key.
func (f *featuresLoad) save(process int, random *rand.Rand, point *hotPoint) {
	name := f.name(process)
	op := Op{Process: process, Service: "feature-store", Kind: "save", Key: point.key(), Token: name, Arg: name,
		Start: f.history.now(), Result: refused}
	message := point.named(name)
	deadline, restorations := time.Now().Add(createTime), f.restorations.Load()
	for f.again(deadline, restorations) {
		_, code := f.grpc.call(f.target("feature-store", random), "routeguide.RouteGuide/SaveFeature",
			map[string]string{"idempotency-key": name}, message)
		if code == codeOK {
			op.Result = ok
			break
		}
		if f.resultOf(code) != refused {
			op.Result = unknown
		}
		time.Sleep(5 * time.Millisecond)
	}
	op.End = f.history.now()
	f.history.add(op)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	switch op.Result {
	case unknown:
		point.unknown++
	case ok:
		f.made = append(f.made, op)
	}
}

func (f *featuresLoad) read(process int, address string, point *hotPoint) {
	op := Op{Process: process, Service: "feature-store", Kind: "read", Key: point.key(), Start: f.history.now()}
	answer, code := f.grpc.call(address, "routeguide.RouteGuide/GetFeature", nil, point.message())
	op.End, op.Result = f.history.now(), f.resultOf(code)
	if err := eachField(answer, func(field int, bytes []byte, _ uint64) {
		if field == 1 {
			op.Value = string(bytes)
		}
	}); err != nil && code == codeOK {
		f.note("feature-store: " + err.Error())
	}
	op.Missing = op.Value == ""
	f.history.add(op)
	if op.Result == refused {
		time.Sleep(2 * time.Millisecond)
	}
}

func (f *featuresLoad) operate(process int, random *rand.Rand) {
	point := f.take(random)
	if random.IntN(100) < 45 {
		f.save(process, random, point)
	} else {
		f.read(process, f.target("feature-store", random), point)
	}
}

// repeat sends saves again that were acknowledged: the histories tell whether any has been done twice.
func (f *featuresLoad) repeat() {
	all := kept(f.made, restorations(f.history.ops))
	points := map[string]*hotPoint{}
	for _, point := range f.all {
		points[point.key()] = point
	}
	each(min(len(all), maxRepeated), 4, func(i int) {
		made := all[i*len(all)/min(len(all), maxRepeated)]
		addresses := f.targets["feature-store"]
		op := Op{Process: repeatProcess, Service: "feature-store", Kind: "repeat", Token: made.Token, Start: f.history.now()}
		_, code := f.grpc.call(addresses[i%len(addresses)], "routeguide.RouteGuide/SaveFeature",
			map[string]string{"idempotency-key": op.Token}, points[made.Key].named(op.Token))
		op.End, op.Result = f.history.now(), f.resultOf(code)
		f.history.add(op)
	})
}

// final reads every point and its history from every replica.
func (f *featuresLoad) final() {
	for replica, address := range f.targets["feature-store"] {
		process := -1 - replica
		each(len(f.all), 16, func(i int) {
			f.read(process, address, f.all[i])
			f.list(process, address, f.all[i])
		})
	}
}

func (f *featuresLoad) list(process int, address string, point *hotPoint) {
	op := Op{Process: process, Service: "feature-store", Kind: "list", Key: point.key(), Start: f.history.now(), Result: ok}
	token := []byte{}
	for {
		request := appendBytes(appendNumber(appendBytes(nil, 1, point.message()), 2, 1000), 3, token)
		answer, code := f.grpc.call(address, "routeguide.FeatureHistory/ListSaves", nil, request)
		token = nil
		err := eachField(answer, func(field int, bytes []byte, _ uint64) {
			switch field {
			case 1:
				_ = eachField(bytes, func(field int, bytes []byte, _ uint64) {
					if field == 2 {
						op.Values = append(op.Values, string(bytes))
					}
				})
			case 2:
				token = bytes
			}
		})
		if code != codeOK || err != nil {
			op.Result = unknown
			f.note("feature-store: no final list")
			break
		}
		if len(token) == 0 {
			break
		}
	}
	op.End = f.history.now()
	f.history.add(op)
}
