package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
)

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
	open := func(target string) *grpc.ClientConn {
		if target == "" || err != nil {
			return nil
		}
		var c *grpc.ClientConn
		if c, err = channel(target); err == nil {
			channels = append(channels, c)
		}
		return c
	}
	every := httpKinds(o, callers, j)
	if c := open(o.guide); c != nil {
		var more []kind
		more, err = guideKinds(ctx, o, c)
		every = append(every, more...)
	}
	if c := open(o.store); c != nil {
		every = append(every, storeKinds(o, c, j)...)
	}
	for _, k := range every {
		if o.chosen(k.name) {
			kinds = append(kinds, k)
		}
	}
	if err == nil && len(kinds) == 0 {
		err = fmt.Errorf("no target takes any of the requests")
	}
	if err != nil {
		close()
	}
	return kinds, close, err
}
