// SPDX-License-Identifier: ISC
#include "scenario.h"

void scenario_print(const struct scenario_options *options, const struct scenario_result *r,
                    FILE *to)
{
    fprintf(to,
            "{\"schema\":1,\"seed\":%llu,\"nodes\":%u,\"scenario\":\"%s\",\"loss_percent\":%g,"
            "\"virtual_s\":%.3f,\"stopped\":%s,\"trace_hash\":\"%016llx\",\"invariants_broken\":%u,"
            "\"false_dead\":%lld,\"false_suspect\":%lld,\"healthy_touched\":%lld,",
            (unsigned long long)options->seed, r->nodes, options->scenario,
            options->loss_per_million / 10000.0, r->virtual_s, r->stopped ? "true" : "false",
            (unsigned long long)r->trace_hash, r->invariants_broken, (long long)r->false_dead,
            (long long)r->false_suspect, (long long)r->touched);
    fprintf(to,
            "\"first_suspect_p50_ms\":%.0f,\"first_suspect_p99_ms\":%.0f,"
            "\"first_verdict_p50_ms\":%.0f,\"dead_everywhere_p50_ms\":%.0f,"
            "\"dead_everywhere_p99_ms\":%.0f,\"membership_bytes_per_node_s\":%.1f,"
            "\"total_bytes_per_node_s\":%.1f,\"join_ms\":%.0f,\"heal_ms\":%.0f,\"update_ms\":%.0f,"
            "\"faulty_out\":%.4f,\"burst_bytes_most\":%lld,\"healthy_share\":%.3f,"
            "\"part_heal_ms\":%.0f,\"launches\":%lld,\"joins\":%lld,\"revokes\":%lld,"
            "\"steps\":%llu,\"packets\":%llu,\"best_ms\":%.0f,\"relay_outage_ms\":%.0f,"
            "\"idle_questions_s\":%.3f}\n",
            r->first_suspect_p50_ms, r->first_suspect_p99_ms, r->first_verdict_p50_ms,
            r->dead_everywhere_p50_ms, r->dead_everywhere_p99_ms, r->membership_bytes_per_node_s,
            r->total_bytes_per_node_s, r->join_ms, r->heal_ms, r->update_ms, r->faulty_out,
            (long long)r->burst_bytes_most, r->healthy_share, r->part_heal_ms,
            (long long)r->launches, (long long)r->joins, (long long)r->revokes,
            (unsigned long long)r->steps, (unsigned long long)r->packets, r->best_ms,
            r->relay_outage_ms, r->idle_questions_s);
}
