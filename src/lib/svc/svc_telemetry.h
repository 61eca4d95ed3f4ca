/* svc_telemetry -- what the process sends to collectors: its spans, log lines and metrics. */
#pragma once
#include "config.h"
#include "include/names.h"

struct svc;

extern const struct config_option svc_telemetry_options[];

/* What the options' own checks do not see: 0 or svc_fail. */
int svc_telemetry_check(struct svc *svc);
int svc_telemetry_open(struct svc *svc); /* once there are a log and metrics */
/* Metrics are sent now, and not only when the interval has passed; does not wait. */
void svc_telemetry_export(struct svc *svc);
/* Once nobody makes spans any more: sends what waits, for timeout_ms at most. */
void svc_telemetry_close(struct svc *svc, unsigned timeout_ms);
