package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
)

const guideChannels = 16

// newKinds is every kind of request that the targets take and the options want; close lets go of the connections.
func newKinds(ctx context.Context, o *options, j *journal) (kinds []kind, close func(), err error) {
	var channels []*grpc.ClientConn
	callers := newHTTPCaller()
	close = func() {
		callers.close()
		for _, c := range channels {
			_ = c.Close()
		}
	}
	open := func(target string, count int) []*grpc.ClientConn {
		before := len(channels)
		for range count {
			var c *grpc.ClientConn
			if c, err = channel(target); err != nil {
				return nil
			}
			channels = append(channels, c)
		}
		return channels[before:]
	}
	every := httpKinds(o, callers, j)
	if o.guide != "" {
		var more []kind
		if to := open(o.guide, guideChannels); to != nil {
			more, err = guideKinds(ctx, o, to)
		}
		every = append(every, more...)
	}
	if o.store != "" && err == nil {
		if to := open(o.store, 1); to != nil {
			every = append(every, storeKinds(o, to[0], j)...)
		}
	}
	for _, k := range every {
		if o.chosen(k.name) {
			kinds = append(kinds, k)
		}
	}
	if unknown := o.unknown(); err == nil && unknown != "" {
		err = fmt.Errorf("-only: there are no requests called %s", unknown)
	}
	if err == nil && len(kinds) == 0 {
		err = fmt.Errorf("no target takes any of the requests")
	}
	if err != nil {
		close()
	}
	return kinds, close, err
}
