/* svc_traces -- the exporter of spans of a process. */
#pragma once
#include "config.h"
#include "include/names.h"

struct svc;

extern const struct config_option svc_trace_options[];

int svc_traces_open(struct svc *svc); /* once there are metrics */
/* Once nobody makes spans any more: sends what waits. */
void svc_traces_close(struct svc *svc, unsigned timeout_ms);
