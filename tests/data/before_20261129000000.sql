-- A database of the version before migration 20261129000000, with rows in every table. Its commands and its server wrote them, but for sign-ins, sessions,
-- the audit of admins and backups, a running live session and the time of pruning: these were inserted by SQL statements.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(20261123000000,'first schema','2026-11-29 15:02:31',1,X'77FAB782D2C4BF3EA936301B62538338048C22ABAEB37EFD2FD12AC1EA17B0290FEB5B36DD2CDE897C4035844AEFA74B',2123600);
INSERT INTO "_sqlx_migrations" VALUES(20261124000000,'setting changes','2026-11-29 15:02:31',1,X'830211EE428AAB3A96BBCDC8EAA096FBA5B60566C0F8A622ED20ED40F49A1F3B67DFFDD904BBD394249D86AB0BC109F2',259583);
INSERT INTO "_sqlx_migrations" VALUES(20261124000050,'pruned logs','2026-11-29 15:02:31',1,X'3720E827412270EBB9A36C7E1A0F88BF71D48563CDBC8110CF71044B2BF5B0FD62E0F1BED0F7913A347F823DC4DDE6C7',184925);
INSERT INTO "_sqlx_migrations" VALUES(20261124000100,'checks','2026-11-29 15:02:31',1,X'CB2C46F089ECC998FF5CCF3EA9CF89E19E9CFAA6CA2D31A7FCA68BF501EBF4B0147A7FE63C33A1F3C60A2ED8C5E9AC01',558302);
INSERT INTO "_sqlx_migrations" VALUES(20261124000200,'projects','2026-11-29 15:02:31',1,X'8EEF5D9D7C306CE766842724924E2FCA4CB4A2CDC84B40136C377668A93196A3F4B6543EDEB387624F39635CFD595DE3',1396494);
INSERT INTO "_sqlx_migrations" VALUES(20261124000300,'quotas','2026-11-29 15:02:31',1,X'93679692B423C25B072F904DEEDC3ABB92AEBAF67838C4B5CC2AB103E69568EFED336971BE08EA459B5757E8D01D11D5',337670);
INSERT INTO "_sqlx_migrations" VALUES(20261125000000,'admins','2026-11-29 15:02:31',1,X'7EF85AE4B0093C0D70F5D6AB81F5A7D7C206555C576F3E92D235B7D4EEC5015A3BEDAB1CF96F7BF737EE8A1B0C0EAB40',618233);
INSERT INTO "_sqlx_migrations" VALUES(20261125000100,'log search','2026-11-29 15:02:31',1,X'5DE20F43515958A6A295A88C5B74D5E88704DCBD39E3951BA18ECD9CEF1898BCB5A8396021C2A4C6F3A4A8B94E068DC9',742384);
INSERT INTO "_sqlx_migrations" VALUES(20261125000200,'audit log','2026-11-29 15:02:31',1,X'E395335E79E272F2D7ACDF9911FEA5383EF796D8A56BB8979620B4EBC3C6AF5AF02B673F3A82CAD59FC1515824A20D63',652286);
INSERT INTO "_sqlx_migrations" VALUES(20261125000210,'checks by key','2026-11-29 15:02:31',1,X'8BC66441FFE307A43E1A3B58A208DB65FFE99B6449625F993F532EEA15C3A154CCAE8C5BE62C00DD1C0F09C1A8784FC9',172121);
INSERT INTO "_sqlx_migrations" VALUES(20261125000400,'audit acts','2026-11-29 15:02:31',1,X'A9DB4C36D303F57DC012AAAFF9EF47DC9280B0377961124C2E686C819EC07C603F1A0AE1B2DFA598AAE050C0A206FAD7',549785);
INSERT INTO "_sqlx_migrations" VALUES(20261125000430,'model days','2026-11-29 15:02:31',1,X'C765510D399C589EC2944B264C09A2B2E397F0C4ABAC3340E4B577AB5E198610360A52421DEFA72A52D7965EBCD6E8CA',376352);
INSERT INTO "_sqlx_migrations" VALUES(20261126000000,'resources','2026-11-29 15:02:31',1,X'7C087E35D368858E2687DA128C7ECFB911D5BDA33FA138385D9026ED2BC6104DE46B16D76510B94837D0D4146A14F427',1139123);
INSERT INTO "_sqlx_migrations" VALUES(20261127000000,'upload sessions','2026-11-29 15:02:31',1,X'CB7B2AE25AC0812952648FC6AF6943F65051E9ED0C75EC49C6BB1D379FD509FC4BE81049645EEFE794C4BE07B939C47D',306382);
INSERT INTO "_sqlx_migrations" VALUES(20261128000000,'direct access','2026-11-29 15:02:31',1,X'0EDCC4A354F08725F7559CF3CBBF4046233FADC880C535374EC7F14611BB4CCFE62E0300D5ECF22AD74E2C2BC88B2FDE',1198294);
CREATE TABLE admins (
    id INTEGER PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL, -- argon2id, with its salt and costs (PHC string)
    zone TEXT NOT NULL DEFAULT 'UTC', -- in which times are shown
    log_columns TEXT, -- which columns of the log, as a JSON array; null: the usual ones
    created_at_ms INTEGER NOT NULL,
    password_changed_at_ms INTEGER NOT NULL
) STRICT;
INSERT INTO "admins" VALUES(1,'ann','$argon2id$v=19$m=19456,t=2,p=1$PzKLtntoOohBo2ymJ9WyMw$mLLQA1EY7egF4oo/GG9AE2ADNEMLhv8I7+LgHYPsR+c','Asia/Taipei','["time","model"]',1795964551655,1795964551740);
CREATE TABLE attempts (
    request_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    upstream_key_id INTEGER NOT NULL,
    project_id INTEGER NOT NULL,
    status INTEGER, -- null: no answer came
    outcome TEXT CHECK (outcome IN ('success', 'client_error', 'quota', 'key_fault', 'upstream_error', 'network',
        'client_gone', 'broken_off', 'interrupted')), -- null: still running
    rule TEXT, -- the rule that decided; null: still running, or nobody was left to be told
    error TEXT, -- redacted; null: none
    started_at_ms INTEGER NOT NULL,
    duration_ms INTEGER, -- null: still running
    PRIMARY KEY (request_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "attempts" VALUES(1883205326239432704,1,1,1,200,'success','success',NULL,1795964552154,1);
INSERT INTO "attempts" VALUES(1883205326239432704,2,1,1,200,'success','success',NULL,1795964552156,47);
INSERT INTO "attempts" VALUES(1883205326239432705,1,2,2,200,'success','success',NULL,1795964552154,3);
INSERT INTO "attempts" VALUES(1883205326239432705,2,2,2,200,'success','success',NULL,1795964552158,40);
INSERT INTO "attempts" VALUES(1883205326239432706,1,3,1,200,'success','success',NULL,1795964552154,3);
INSERT INTO "attempts" VALUES(1883205326239432706,2,3,1,200,'success','success',NULL,1795964552158,41);
INSERT INTO "attempts" VALUES(1883205326267744256,1,2,2,200,'success','success',NULL,1795964552182,1);
INSERT INTO "attempts" VALUES(1883205326299201536,1,3,1,429,'quota','quota_per_day','You exceeded your current quota. Please retry in 30s.',1795964552211,47);
INSERT INTO "attempts" VALUES(1883205326299201536,2,2,2,429,'quota','quota_per_day','You exceeded your current quota. Please retry in 30s.',1795964552259,43);
INSERT INTO "attempts" VALUES(1883205326408253440,1,2,2,404,'client_error','model_not_found','models/nothing is not found for API version v1beta',1795964552315,43);
INSERT INTO "attempts" VALUES(1883205326480605184,1,3,1,200,'success','success',NULL,1795964552385,46);
INSERT INTO "attempts" VALUES(1883205326543519744,1,3,1,200,'success','success',NULL,1795964552444,0);
INSERT INTO "attempts" VALUES(1883205326555054080,1,3,1,200,'success','success',NULL,1795964552456,43);
INSERT INTO "attempts" VALUES(1883205327340437504,1,5,5,400,'key_fault','api_key_invalid','API key not valid. Please pass a valid API key.',1795964553204,0);
INSERT INTO "attempts" VALUES(1883205330749358080,1,3,1,NULL,NULL,NULL,NULL,1795964556455,NULL);
INSERT INTO "attempts" VALUES(1883205330882407717,1,5,5,400,'key_fault','api_key_invalid','API key not valid. Please pass a valid API key.',1795964556581,12);
INSERT INTO "attempts" VALUES(1883205337288835660,1,5,5,400,'key_fault','api_key_invalid','API key not valid. Please pass a valid API key.',1795964562691,8);
CREATE TABLE audit_acts (
    id INTEGER PRIMARY KEY REFERENCES audit_log (id),
    at_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL, -- 0: every change stands for itself
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    action TEXT NOT NULL,
    changes INTEGER NOT NULL -- how many
) STRICT;
INSERT INTO "audit_acts" VALUES(1,1795964551155,1,'cli','project','create',1);
INSERT INTO "audit_acts" VALUES(2,1795964551155,1,'cli','project','update',1);
INSERT INTO "audit_acts" VALUES(3,1795964551155,1,'cli','upstream_key','create',1);
INSERT INTO "audit_acts" VALUES(4,1795964551182,2,'cli','project','create',1);
INSERT INTO "audit_acts" VALUES(5,1795964551182,2,'cli','upstream_key','create',1);
INSERT INTO "audit_acts" VALUES(6,1795964551195,3,'cli','upstream_key','create',1);
INSERT INTO "audit_acts" VALUES(7,1795964551223,4,'cli','upstream_key','update',1);
INSERT INTO "audit_acts" VALUES(8,1795964551242,5,'cli','upstream_key','disable',1);
INSERT INTO "audit_acts" VALUES(9,1795964551265,6,'cli','upstream_key','enable',1);
INSERT INTO "audit_acts" VALUES(10,1795964551289,7,'cli','upstream_key','create',1);
INSERT INTO "audit_acts" VALUES(11,1795964551318,8,'cli','upstream_key','delete',1);
INSERT INTO "audit_acts" VALUES(12,1795964551346,9,'cli','upstream_key','restore',1);
INSERT INTO "audit_acts" VALUES(13,1795964551370,10,'cli','upstream_key','delete',1);
INSERT INTO "audit_acts" VALUES(14,1795964551388,11,'cli','client_key','create',1);
INSERT INTO "audit_acts" VALUES(15,1795964551388,11,'cli','client_key','update',1);
INSERT INTO "audit_acts" VALUES(16,1795964551407,12,'cli','client_key','update',1);
INSERT INTO "audit_acts" VALUES(17,1795964551424,13,'cli','client_key','create',1);
INSERT INTO "audit_acts" VALUES(18,1795964551444,14,'cli','client_key','disable',1);
INSERT INTO "audit_acts" VALUES(19,1795964551458,15,'cli','client_key','enable',1);
INSERT INTO "audit_acts" VALUES(20,1795964551480,16,'cli','client_key','delete',1);
INSERT INTO "audit_acts" VALUES(21,1795964551497,17,'cli','setting','update',1);
INSERT INTO "audit_acts" VALUES(22,1795964551523,18,'cli','setting','update',1);
INSERT INTO "audit_acts" VALUES(23,1795964551544,19,'cli','setting','update',1);
INSERT INTO "audit_acts" VALUES(24,1795964551565,20,'cli','setting','update',1);
INSERT INTO "audit_acts" VALUES(25,1795964551655,0,'cli','admin','create',1);
INSERT INTO "audit_acts" VALUES(26,1795964551740,0,'cli','admin','change_password',1);
INSERT INTO "audit_acts" VALUES(27,1795964552510,21,'cli','upstream_key','create',1);
INSERT INTO "audit_acts" VALUES(28,1795964558631,23,'cli','upstream_key','clear',1);
INSERT INTO "audit_acts" VALUES(29,1795964564794,25,'cli','project','clear',1);
INSERT INTO "audit_acts" VALUES(30,1795964500000,0,'admin:ann','admin','sign_in',1);
INSERT INTO "audit_acts" VALUES(31,1795964502000,0,'admin:ann','admin','sign_in',1);
INSERT INTO "audit_acts" VALUES(32,1795964503000,0,'admin:ann','admin','sign_out',1);
INSERT INTO "audit_acts" VALUES(33,1795964504000,0,'admin:ann','admin','update',1);
INSERT INTO "audit_acts" VALUES(34,1795964510000,26,'admin:ann','backup','create',1);
INSERT INTO "audit_acts" VALUES(35,1795964511000,27,'admin:ann','backup','download',1);
INSERT INTO "audit_acts" VALUES(36,1795964512000,28,'admin:ann','backup','delete',1);
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL, -- of the act: what was changed together has the same; 0: older than this table
    actor TEXT NOT NULL,
    address TEXT, -- null: not over the network
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    subject_id INTEGER, -- null: a subject that is known by its name
    name TEXT NOT NULL, -- what the subject was called then
    before TEXT, -- a JSON object of what changed, without secrets; null: there was nothing
    after TEXT -- the same; null: there is nothing any more
) STRICT;
INSERT INTO "audit_log" VALUES(1,1795964551155,1,'cli',NULL,'create','project',1,'team',NULL,'{"name":"team","number":null}');
INSERT INTO "audit_log" VALUES(2,1795964551155,1,'cli',NULL,'update','project',1,'team','{"billing":"unknown"}','{"billing":"free"}');
INSERT INTO "audit_log" VALUES(3,1795964551155,1,'cli',NULL,'create','upstream_key',1,'one',NULL,'{"label":"one","last4":"-one","priority":1,"project":"team","tags":["eu"],"weight":1}');
INSERT INTO "audit_log" VALUES(4,1795964551182,2,'cli',NULL,'create','project',2,'projects/123456',NULL,'{"name":null,"number":"projects/123456"}');
INSERT INTO "audit_log" VALUES(5,1795964551182,2,'cli',NULL,'create','upstream_key',2,'two',NULL,'{"label":"two","last4":"-two","priority":0,"project":"123456","tags":[],"weight":1}');
INSERT INTO "audit_log" VALUES(6,1795964551195,3,'cli',NULL,'create','upstream_key',3,'three',NULL,'{"label":"three","last4":"hree","priority":0,"project":null,"tags":[],"weight":1}');
INSERT INTO "audit_log" VALUES(7,1795964551223,4,'cli',NULL,'update','upstream_key',3,'three','{"label":"three","project":null,"weight":1}','{"label":"third","project":"team","weight":2}');
INSERT INTO "audit_log" VALUES(8,1795964551242,5,'cli',NULL,'disable','upstream_key',2,'two','{"enabled":true}','{"enabled":false}');
INSERT INTO "audit_log" VALUES(9,1795964551265,6,'cli',NULL,'enable','upstream_key',2,'two','{"enabled":false}','{"enabled":true}');
INSERT INTO "audit_log" VALUES(10,1795964551289,7,'cli',NULL,'create','upstream_key',4,'key-oved',NULL,'{"label":"key-oved","last4":"oved","priority":0,"project":null,"tags":[],"weight":1}');
INSERT INTO "audit_log" VALUES(11,1795964551318,8,'cli',NULL,'delete','upstream_key',4,'key-oved','{"label":"key-oved","last4":"oved"}',NULL);
INSERT INTO "audit_log" VALUES(12,1795964551346,9,'cli',NULL,'restore','upstream_key',4,'key-oved',NULL,'{"last4":"oved"}');
INSERT INTO "audit_log" VALUES(13,1795964551370,10,'cli',NULL,'delete','upstream_key',4,'key-oved','{"label":"key-oved","last4":"oved"}',NULL);
INSERT INTO "audit_log" VALUES(14,1795964551388,11,'cli',NULL,'create','client_key',1,'client',NULL,'{"expires_at":null,"last4":"-key","name":"client","note":"a note"}');
INSERT INTO "audit_log" VALUES(15,1795964551388,11,'cli',NULL,'update','client_key',1,'client','{"requests_per_day":null,"tags":[]}','{"requests_per_day":1000,"tags":["eu"]}');
INSERT INTO "audit_log" VALUES(16,1795964551407,12,'cli',NULL,'update','client_key',1,'client','{"models":[],"tags":["eu"]}','{"models":["gemini-*","nothing"],"tags":[]}');
INSERT INTO "audit_log" VALUES(17,1795964551424,13,'cli',NULL,'create','client_key',2,'other',NULL,'{"expires_at":null,"last4":"-key","name":"other","note":""}');
INSERT INTO "audit_log" VALUES(18,1795964551444,14,'cli',NULL,'disable','client_key',2,'other','{"enabled":true}','{"enabled":false}');
INSERT INTO "audit_log" VALUES(19,1795964551458,15,'cli',NULL,'enable','client_key',2,'other','{"enabled":false}','{"enabled":true}');
INSERT INTO "audit_log" VALUES(20,1795964551480,16,'cli',NULL,'delete','client_key',2,'other','{"last4":"-key","name":"other"}',NULL);
INSERT INTO "audit_log" VALUES(21,1795964551497,17,'cli',NULL,'update','setting',NULL,'max_attempts',NULL,'{"value":"7"}');
INSERT INTO "audit_log" VALUES(22,1795964551523,18,'cli',NULL,'update','setting',NULL,'max_attempts','{"value":"7"}','{"value":"8"}');
INSERT INTO "audit_log" VALUES(23,1795964551544,19,'cli',NULL,'update','setting',NULL,'max_attempts','{"value":"8"}',NULL);
INSERT INTO "audit_log" VALUES(24,1795964551565,20,'cli',NULL,'update','setting',NULL,'day_zone',NULL,'{"value":"Asia/Taipei"}');
INSERT INTO "audit_log" VALUES(25,1795964551655,0,'cli',NULL,'create','admin',1,'ann',NULL,NULL);
INSERT INTO "audit_log" VALUES(26,1795964551740,0,'cli',NULL,'change_password','admin',1,'ann',NULL,NULL);
INSERT INTO "audit_log" VALUES(27,1795964552510,21,'cli',NULL,'create','upstream_key',5,'four',NULL,'{"label":"four","last4":"four","priority":-5,"project":null,"tags":[],"weight":1}');
INSERT INTO "audit_log" VALUES(28,1795964558631,23,'cli',NULL,'clear','upstream_key',5,'four','{"state":"invalid","rule":"api_key_invalid"}','{"state":"ready"}');
INSERT INTO "audit_log" VALUES(29,1795964564794,25,'cli',NULL,'clear','project',1,'team','{"cooldowns":["gemini-2.5-pro: quota_per_day"]}','{"cooldowns":[]}');
INSERT INTO "audit_log" VALUES(30,1795964500000,0,'admin:ann','192.0.2.7','sign_in','admin',1,'ann',NULL,'{"browser":"Firefox"}');
INSERT INTO "audit_log" VALUES(31,1795964502000,0,'admin:ann','192.0.2.8','sign_in','admin',1,'ann',NULL,'{"browser":"curl"}');
INSERT INTO "audit_log" VALUES(32,1795964503000,0,'admin:ann','192.0.2.8','sign_out','admin',1,'ann','{"address":"192.0.2.8","browser":"curl"}',NULL);
INSERT INTO "audit_log" VALUES(33,1795964504000,0,'admin:ann','192.0.2.7','update','admin',1,'ann','{"zone":"UTC"}','{"zone":"Asia/Taipei"}');
INSERT INTO "audit_log" VALUES(34,1795964510000,26,'admin:ann','192.0.2.7','create','backup',NULL,'old-20261129-150149.db',NULL,'{"bytes":4096}');
INSERT INTO "audit_log" VALUES(35,1795964511000,27,'admin:ann','192.0.2.7','download','backup',NULL,'old-20261129-150149.db','{"bytes":4096}',NULL);
INSERT INTO "audit_log" VALUES(36,1795964512000,28,'admin:ann','192.0.2.7','delete','backup',NULL,'old-20261129-150149.db','{"bytes":4096}',NULL);
CREATE TABLE client_key_hours (
    hour_ms INTEGER NOT NULL,
    client_key_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_0 INTEGER NOT NULL,
    first_byte_1 INTEGER NOT NULL,
    first_byte_2 INTEGER NOT NULL,
    first_byte_3 INTEGER NOT NULL,
    first_byte_4 INTEGER NOT NULL,
    first_byte_5 INTEGER NOT NULL,
    first_byte_6 INTEGER NOT NULL,
    first_byte_7 INTEGER NOT NULL,
    first_byte_8 INTEGER NOT NULL,
    first_byte_9 INTEGER NOT NULL,
    first_byte_10 INTEGER NOT NULL,
    first_byte_11 INTEGER NOT NULL,
    duration_0 INTEGER NOT NULL,
    duration_1 INTEGER NOT NULL,
    duration_2 INTEGER NOT NULL,
    duration_3 INTEGER NOT NULL,
    duration_4 INTEGER NOT NULL,
    duration_5 INTEGER NOT NULL,
    duration_6 INTEGER NOT NULL,
    duration_7 INTEGER NOT NULL,
    duration_8 INTEGER NOT NULL,
    duration_9 INTEGER NOT NULL,
    duration_10 INTEGER NOT NULL,
    duration_11 INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, client_key_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "client_key_hours" VALUES(1795964400000,0,1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "client_key_hours" VALUES(1795964400000,1,6,4,1,6,8,0,0,0,14,10900,5,0,0,0,0,0,0,0,0,0,0,0,5,1,0,0,0,0,0,0,0,0,0,0);
CREATE TABLE client_keys (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    hash BLOB NOT NULL, -- HMAC-SHA-256 under installation_secrets.client_keys
    last4 TEXT NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    expires_at_ms INTEGER, -- null: never
    requests_per_minute INTEGER, -- null, here and below: no limit
    requests_per_day INTEGER,
    tokens_per_minute INTEGER,
    tokens_per_day INTEGER,
    concurrency INTEGER,
    cost_per_month_nano_usd INTEGER,
    models TEXT NOT NULL DEFAULT '[]',
    paths TEXT NOT NULL DEFAULT '[]',
    addresses TEXT NOT NULL DEFAULT '[]',
    tags TEXT NOT NULL DEFAULT '[]',
    requests INTEGER NOT NULL DEFAULT 0,
    successes INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    total_tokens INTEGER NOT NULL DEFAULT 0,
    last_used_at_ms INTEGER, -- null: never
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER, -- null: in use
    revision INTEGER NOT NULL
, direct_access INTEGER NOT NULL DEFAULT 0 CHECK (direct_access IN (0, 1))) STRICT;
INSERT INTO "client_keys" VALUES(1,'client','a note',X'5168D7CCC7D3749F5A2156BBB4C2D5BE1358AB2B0D55F662B99F61FB958FE778','-key',1,NULL,NULL,1000,NULL,NULL,NULL,NULL,'["gemini-*","nothing"]','[]','[]','[]',6,4,1,6,8,14,1795964552455,1795964551388,NULL,12,0);
INSERT INTO "client_keys" VALUES(2,'other','',X'6D1113B42BA8C5B67D4213CCAC3FE5BE421B5C655AF02452F37491B554D1F068','-key',1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','[]','[]','[]',0,0,0,0,0,0,NULL,1795964551424,1795964551480,16,0);
CREATE TABLE cooldowns (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    model TEXT NOT NULL,
    rule TEXT NOT NULL,
    step INTEGER NOT NULL, -- how often it was doubled
    status INTEGER, -- Google's status; null where none came
    message TEXT NOT NULL, -- redacted
    request_id INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (project_id, model)
) STRICT, WITHOUT ROWID;
INSERT INTO "cooldowns" VALUES(2,'gemini-2.5-pro','quota_per_day',0,429,'You exceeded your current quota. Please retry in 30s.',1883205326299201536,1795964552303,1796025600000);
CREATE TABLE installation_secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "installation_secrets" VALUES('hash_key',X'26040CD033D7D103D477D3E69F561EE30C288AA549B694BC54F3956AA75858BB');
CREATE TABLE model_days (
    day_ms INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_0 INTEGER NOT NULL,
    first_byte_1 INTEGER NOT NULL,
    first_byte_2 INTEGER NOT NULL,
    first_byte_3 INTEGER NOT NULL,
    first_byte_4 INTEGER NOT NULL,
    first_byte_5 INTEGER NOT NULL,
    first_byte_6 INTEGER NOT NULL,
    first_byte_7 INTEGER NOT NULL,
    first_byte_8 INTEGER NOT NULL,
    first_byte_9 INTEGER NOT NULL,
    first_byte_10 INTEGER NOT NULL,
    first_byte_11 INTEGER NOT NULL,
    duration_0 INTEGER NOT NULL,
    duration_1 INTEGER NOT NULL,
    duration_2 INTEGER NOT NULL,
    duration_3 INTEGER NOT NULL,
    duration_4 INTEGER NOT NULL,
    duration_5 INTEGER NOT NULL,
    duration_6 INTEGER NOT NULL,
    duration_7 INTEGER NOT NULL,
    duration_8 INTEGER NOT NULL,
    duration_9 INTEGER NOT NULL,
    duration_10 INTEGER NOT NULL,
    duration_11 INTEGER NOT NULL,
    PRIMARY KEY (day_ms, model_id, outcome)
) STRICT, WITHOUT ROWID;
INSERT INTO "model_days" VALUES(1795910400000,0,'success',2,0,0,0,0,0,0,0,2,0,0,0,0,0,0,0,0,0,0,0,2,0,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "model_days" VALUES(1795910400000,1,'refused',1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "model_days" VALUES(1795910400000,1,'success',2,6,8,0,0,0,14,10900,2,0,0,0,0,0,0,0,0,0,0,0,2,0,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "model_days" VALUES(1795910400000,10,'quota',1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "model_days" VALUES(1795910400000,12,'client_error',1,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0);
CREATE TABLE model_hours (
    hour_ms INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_0 INTEGER NOT NULL,
    first_byte_1 INTEGER NOT NULL,
    first_byte_2 INTEGER NOT NULL,
    first_byte_3 INTEGER NOT NULL,
    first_byte_4 INTEGER NOT NULL,
    first_byte_5 INTEGER NOT NULL,
    first_byte_6 INTEGER NOT NULL,
    first_byte_7 INTEGER NOT NULL,
    first_byte_8 INTEGER NOT NULL,
    first_byte_9 INTEGER NOT NULL,
    first_byte_10 INTEGER NOT NULL,
    first_byte_11 INTEGER NOT NULL,
    duration_0 INTEGER NOT NULL,
    duration_1 INTEGER NOT NULL,
    duration_2 INTEGER NOT NULL,
    duration_3 INTEGER NOT NULL,
    duration_4 INTEGER NOT NULL,
    duration_5 INTEGER NOT NULL,
    duration_6 INTEGER NOT NULL,
    duration_7 INTEGER NOT NULL,
    duration_8 INTEGER NOT NULL,
    duration_9 INTEGER NOT NULL,
    duration_10 INTEGER NOT NULL,
    duration_11 INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, model_id, outcome)
) STRICT, WITHOUT ROWID;
INSERT INTO "model_hours" VALUES(1795964400000,0,'success',2,0,0,0,0,0,0,0,2,0,0,0,0,0,0,0,0,0,0,0,2,0,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "model_hours" VALUES(1795964400000,1,'refused',1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "model_hours" VALUES(1795964400000,1,'success',2,6,8,0,0,0,14,10900,2,0,0,0,0,0,0,0,0,0,0,0,2,0,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "model_hours" VALUES(1795964400000,10,'quota',1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "model_hours" VALUES(1795964400000,12,'client_error',1,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0);
CREATE TABLE projects (
    id INTEGER PRIMARY KEY,
    name TEXT UNIQUE, -- projects/123; null until Google or the admin names it
    billing TEXT NOT NULL DEFAULT 'unknown' CHECK (billing IN ('free', 'paid', 'unknown')),
    created_at_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL
, number TEXT, merged_into_id INTEGER REFERENCES projects (id), cleared_revision INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "projects" VALUES(1,'team','free',1795964551155,25,NULL,NULL,25);
INSERT INTO "projects" VALUES(2,NULL,'free',1795964551182,2,'projects/123456',NULL,0);
INSERT INTO "projects" VALUES(3,NULL,'unknown',1795964551195,4,NULL,1,0);
INSERT INTO "projects" VALUES(4,NULL,'unknown',1795964551289,7,NULL,NULL,0);
INSERT INTO "projects" VALUES(5,NULL,'unknown',1795964552510,23,NULL,NULL,23);
CREATE TABLE pruned_logs (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    until_ms INTEGER NOT NULL -- the latest start of a deleted request or attempt; -1: none was deleted
) STRICT;
INSERT INTO "pruned_logs" VALUES(1,1795863599000);
CREATE TABLE quota_days (
    day_ms INTEGER NOT NULL, -- when the day began
    upstream_key_id INTEGER NOT NULL,
    model_id INTEGER NOT NULL, -- a text
    requests INTEGER NOT NULL, -- each text of a batch of embeddings is one
    input_tokens INTEGER NOT NULL,
    PRIMARY KEY (day_ms, upstream_key_id, model_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "quota_days" VALUES(1795939200000,2,1,1,3);
INSERT INTO "quota_days" VALUES(1795939200000,3,1,1,3);
CREATE TABLE quota_limits (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    model TEXT NOT NULL,
    measure TEXT NOT NULL
        CHECK (measure IN ('requests_per_minute', 'tokens_per_minute', 'requests_per_day', 'tokens_per_day')),
    most INTEGER, -- null: more went through than was presumed
    message TEXT NOT NULL, -- redacted; empty where there was none
    request_id INTEGER NOT NULL, -- the request that showed it
    learnt_at_ms INTEGER NOT NULL,
    PRIMARY KEY (project_id, model, measure)
) STRICT, WITHOUT ROWID;
INSERT INTO "quota_limits" VALUES(1,'gemini-2.5-pro','requests_per_day',NULL,'You exceeded your current quota. Please retry in 30s.',1883205326299201536,1795964552259);
INSERT INTO "quota_limits" VALUES(2,'gemini-2.5-pro','requests_per_day',50,'You exceeded your current quota. Please retry in 30s.',1883205326299201536,1795964552303);
CREATE TABLE request_logs (
    id INTEGER PRIMARY KEY,
    started_at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('request', 'check')),
    client_key_id INTEGER, -- null: nobody we know
    client_ip_id INTEGER, -- a text; null for checks
    user_agent_id INTEGER, -- a text; null: none was sent
    method TEXT NOT NULL,
    path_id INTEGER NOT NULL, -- a text, without credentials, cut at 512 bytes
    model_id INTEGER, -- a text; null: the path names none
    model_version_id INTEGER, -- a text; null: the answer did not say
    operation_id INTEGER, -- a text; null: a path that is not known to us
    streamed INTEGER NOT NULL CHECK (streamed IN (0, 1)),
    status INTEGER, -- what the client got; null: nothing
    outcome TEXT CHECK (outcome IN ('success', 'client_error', 'quota', 'key_fault', 'upstream_error', 'network',
        'no_key', 'refused', 'client_gone', 'broken_off', 'interrupted')), -- null: still running
    error TEXT, -- redacted; null: none
    attempts INTEGER NOT NULL,
    upstream_key_id INTEGER, -- of the last attempt; null: there was none
    project_id INTEGER,
    wait_ms INTEGER NOT NULL,
    first_byte_ms INTEGER, -- null: no byte came
    duration_ms INTEGER, -- null: still running
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    prompt_tokens INTEGER, -- null, here and below: Google did not say
    output_tokens INTEGER,
    thought_tokens INTEGER,
    cached_tokens INTEGER,
    tool_tokens INTEGER,
    total_tokens INTEGER,
    finish_reason_id INTEGER, -- a text
    service_tier_id INTEGER, -- a text
    cost_nano_usd INTEGER, -- null: the price is not known
    turns INTEGER, -- of a live session
    close_code INTEGER -- of a live session
, bound_by TEXT) STRICT;
INSERT INTO "request_logs" VALUES(1883205326239432704,1795964552154,'check',NULL,NULL,NULL,'POST',8,7,1,9,0,200,'success',NULL,2,1,1,0,NULL,48,39,482,3,4,NULL,NULL,NULL,7,6,NULL,10900,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205326239432705,1795964552154,'check',NULL,NULL,NULL,'POST',8,7,1,9,0,200,'success',NULL,2,2,2,0,NULL,43,39,482,3,4,NULL,NULL,NULL,7,6,NULL,10900,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205326239432706,1795964552154,'check',NULL,NULL,NULL,'POST',8,7,1,9,0,200,'success',NULL,2,3,1,0,NULL,44,39,482,3,4,NULL,NULL,NULL,7,6,NULL,10900,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205326267744256,1795964552181,'request',1,2,3,'POST',4,1,1,5,0,200,'success',NULL,1,2,2,0,2,2,40,241,3,4,NULL,NULL,NULL,7,6,NULL,10900,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205326299201536,1795964552211,'request',1,2,3,'POST',11,10,NULL,5,0,429,'quota','You exceeded your current quota. Please retry in 30s.',2,2,2,0,NULL,92,40,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205326408253440,1795964552315,'request',1,2,3,'POST',13,12,NULL,5,0,404,'client_error','models/nothing is not found for API version v1beta',1,2,2,0,43,43,40,112,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205326469070848,1795964552373,'request',NULL,2,3,'POST',4,1,NULL,5,0,401,'refused','gemini-pool: this client key is not known. Ask whoever runs the pool for one',0,NULL,NULL,0,NULL,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205326480605184,1795964552384,'request',1,2,3,'POST',14,NULL,NULL,15,0,200,'success',NULL,1,3,1,0,47,47,74,150,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205326543519744,1795964552444,'request',1,2,3,'POST',16,NULL,NULL,17,0,200,'success',NULL,1,3,1,0,1,1,29,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,'home');
INSERT INTO "request_logs" VALUES(1883205326555054080,1795964552455,'request',1,2,3,'POST',4,1,1,5,0,200,'success',NULL,1,3,1,0,43,43,81,241,3,4,NULL,NULL,NULL,7,6,NULL,0,NULL,NULL,'cachedContents/example');
INSERT INTO "request_logs" VALUES(1883205327340437504,1795964553204,'check',NULL,NULL,NULL,'GET',18,7,NULL,19,0,400,'key_fault','API key not valid. Please pass a valid API key.',1,5,5,0,NULL,0,0,303,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205330749358080,1795964556455,'request',1,2,21,'GET',4,1,NULL,20,1,NULL,NULL,NULL,1,3,1,12,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,22,1,2,1000,NULL);
INSERT INTO "request_logs" VALUES(1883205330882407717,1795964556581,'check',NULL,NULL,NULL,'GET',18,7,NULL,19,0,400,'key_fault','API key not valid. Please pass a valid API key.',1,5,5,0,NULL,12,0,303,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "request_logs" VALUES(1883205337288835660,1795964562691,'check',NULL,NULL,NULL,'GET',18,7,NULL,19,0,400,'key_fault','API key not valid. Please pass a valid API key.',1,5,5,0,NULL,8,0,303,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
CREATE TABLE resources (
    name TEXT PRIMARY KEY, -- in one form, however Google or a client wrote it: files/abc
    kind TEXT NOT NULL,
    upstream_key_id INTEGER NOT NULL REFERENCES upstream_keys (id),
    client_key_id INTEGER REFERENCES client_keys (id), -- who made it; null: nobody we know
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER, -- null: it stays until it is deleted
    is_counted INTEGER NOT NULL CHECK (is_counted IN (0, 1)) -- whether a log row has what it used: a batch, an interaction
) STRICT, WITHOUT ROWID;
INSERT INTO "resources" VALUES('cachedContents/example','cachedContents',3,1,1795964552385,1827619200000,0);
CREATE TABLE revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO "revision" VALUES(1,28);
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "settings" VALUES('day_zone','Asia/Taipei',1795964551565,20);
CREATE TABLE sign_ins (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    admin_id INTEGER NOT NULL REFERENCES admins (id),
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    last_seen_at_ms INTEGER NOT NULL
) STRICT;
INSERT INTO "sign_ins" VALUES(1,1,'192.0.2.7','Firefox',1795964500000,1795964501000);
CREATE TABLE texts (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO "texts" VALUES(0,'');
INSERT INTO "texts" VALUES(1,'gemini-2.5-flash');
INSERT INTO "texts" VALUES(2,'127.0.0.1');
INSERT INTO "texts" VALUES(3,'curl/7.88.1');
INSERT INTO "texts" VALUES(4,'/v1beta/models/gemini-2.5-flash:generateContent');
INSERT INTO "texts" VALUES(5,'generateContent');
INSERT INTO "texts" VALUES(6,'STOP');
INSERT INTO "texts" VALUES(7,'gemini-flash-lite-latest');
INSERT INTO "texts" VALUES(8,'/v1beta/models/gemini-flash-lite-latest:countTokens');
INSERT INTO "texts" VALUES(9,'countTokens');
INSERT INTO "texts" VALUES(10,'gemini-2.5-pro');
INSERT INTO "texts" VALUES(11,'/v1beta/models/gemini-2.5-pro:generateContent');
INSERT INTO "texts" VALUES(12,'nothing');
INSERT INTO "texts" VALUES(13,'/v1beta/models/nothing:generateContent');
INSERT INTO "texts" VALUES(14,'/v1beta/cachedContents');
INSERT INTO "texts" VALUES(15,'cachedContents.create');
INSERT INTO "texts" VALUES(16,'/upload/v1beta/files');
INSERT INTO "texts" VALUES(17,'files.upload');
INSERT INTO "texts" VALUES(18,'/v1beta/models?pageSize=1');
INSERT INTO "texts" VALUES(19,'models.list');
INSERT INTO "texts" VALUES(20,'LiveSession');
INSERT INTO "texts" VALUES(21,'Example/1.0');
INSERT INTO "texts" VALUES(22,'flex');
CREATE TABLE tower_sessions (
    id TEXT PRIMARY KEY NOT NULL,
    data BLOB NOT NULL,
    expiry_date INTEGER NOT NULL
);
INSERT INTO "tower_sessions" VALUES('example-session',X'80',1796569309);
CREATE TABLE upload_sessions (
    id_hash BLOB PRIMARY KEY,
    google_path TEXT NOT NULL, -- path and query of Google's URL; its host is always the upstream's
    upstream_key_id INTEGER NOT NULL REFERENCES upstream_keys (id),
    client_key_id INTEGER NOT NULL REFERENCES client_keys (id),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "upload_sessions" VALUES(X'CD281E0926F805DDE1253DC3897F527918D1C81E7EB74F88D980DE8E395FA82E','/upload/v1beta/files?upload_id=example&upload_protocol=resumable',3,1,1795964552445,1796569352445);
CREATE TABLE upstream_key_days (
    day_ms INTEGER NOT NULL,
    upstream_key_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_0 INTEGER NOT NULL,
    first_byte_1 INTEGER NOT NULL,
    first_byte_2 INTEGER NOT NULL,
    first_byte_3 INTEGER NOT NULL,
    first_byte_4 INTEGER NOT NULL,
    first_byte_5 INTEGER NOT NULL,
    first_byte_6 INTEGER NOT NULL,
    first_byte_7 INTEGER NOT NULL,
    first_byte_8 INTEGER NOT NULL,
    first_byte_9 INTEGER NOT NULL,
    first_byte_10 INTEGER NOT NULL,
    first_byte_11 INTEGER NOT NULL,
    duration_0 INTEGER NOT NULL,
    duration_1 INTEGER NOT NULL,
    duration_2 INTEGER NOT NULL,
    duration_3 INTEGER NOT NULL,
    duration_4 INTEGER NOT NULL,
    duration_5 INTEGER NOT NULL,
    duration_6 INTEGER NOT NULL,
    duration_7 INTEGER NOT NULL,
    duration_8 INTEGER NOT NULL,
    duration_9 INTEGER NOT NULL,
    duration_10 INTEGER NOT NULL,
    duration_11 INTEGER NOT NULL,
    PRIMARY KEY (day_ms, upstream_key_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "upstream_key_days" VALUES(1795910400000,2,3,1,1,3,4,0,0,0,7,10900,3,0,0,0,0,0,0,0,0,0,0,0,3,0,0,0,0,0,0,0,0,0,0,0);
INSERT INTO "upstream_key_days" VALUES(1795910400000,3,4,3,1,3,4,0,0,0,7,0,4,0,0,0,0,0,0,0,0,0,0,0,4,0,0,0,0,0,0,0,0,0,0,0);
CREATE TABLE upstream_keys (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    label TEXT NOT NULL,
    secret TEXT, -- null once a removed key's secret has been wiped
    last4 TEXT NOT NULL,
    fingerprint BLOB NOT NULL, -- HMAC-SHA-256 of the secret: a key is known again after its secret is wiped
    enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    priority INTEGER NOT NULL DEFAULT 0,
    weight INTEGER NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    tags TEXT NOT NULL DEFAULT '[]',
    state TEXT NOT NULL DEFAULT 'ready'
        CHECK (state IN ('ready', 'cooling_down', 'trial', 'invalid', 'leaked', 'suspended', 'misconfigured')),
    state_rule TEXT, -- the rule that set the state; null for ready and for what a hand set
    state_status INTEGER, -- Google's status then
    state_message TEXT, -- Google's message then, redacted
    state_request_id INTEGER, -- the request that showed it
    state_since_ms INTEGER NOT NULL,
    state_until_ms INTEGER, -- null: the state has no end of its own
    next_check_at_ms INTEGER, -- null: no check is due
    failed_checks INTEGER NOT NULL DEFAULT 0,
    state_reset_revision INTEGER NOT NULL DEFAULT 0, -- when a hand last cleared the state
    requests INTEGER NOT NULL DEFAULT 0,
    successes INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    total_tokens INTEGER NOT NULL DEFAULT 0,
    last_used_at_ms INTEGER, -- null: never
    last_error TEXT, -- redacted; null: none yet
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER, -- null: in use; else a tombstone that log rows refer to
    revision INTEGER NOT NULL
, checked_at_ms INTEGER) STRICT;
INSERT INTO "upstream_keys" VALUES(1,1,'one','example-upstream-key-one','-one',X'D0DBB154320E31223A162684C8D32BF252110928BB52EE8127DA1201A5828F3F',1,1,1,'["eu"]','ready',NULL,NULL,NULL,NULL,1795964551155,NULL,NULL,0,0,0,0,0,0,0,0,NULL,NULL,1795964551155,NULL,1,1795964552154);
INSERT INTO "upstream_keys" VALUES(2,2,'two','example-upstream-key-two','-two',X'F09C7C8DBE231785A1BC77E986D161944D3C74456A8506773958E24564820AE3',1,0,1,'[]','ready',NULL,NULL,NULL,NULL,1795964551265,NULL,NULL,0,6,3,1,1,3,4,7,1795964552315,'You exceeded your current quota. Please retry in 30s.',1795964551182,NULL,6,1795964552154);
INSERT INTO "upstream_keys" VALUES(3,1,'third','example-upstream-key-three','hree',X'210FB83B936D90D10CAC2D0A85F5C9E594E100079977A1D9644834F0ACCD14AF',1,0,2,'[]','ready',NULL,NULL,NULL,NULL,1795964564794,NULL,NULL,0,25,4,3,1,3,4,7,1795964552456,'You exceeded your current quota. Please retry in 30s.',1795964551195,NULL,25,1795964552154);
INSERT INTO "upstream_keys" VALUES(4,4,'key-oved','example-upstream-key-removed','oved',X'56CD950876E492D13711F55DA8D424EE30AF8108347D6648CFED6DD2A22A9C8E',1,0,1,'[]','ready',NULL,NULL,NULL,NULL,1795964551346,NULL,NULL,0,9,0,0,0,0,0,0,NULL,NULL,1795964551289,1795964551370,10,NULL);
INSERT INTO "upstream_keys" VALUES(5,5,'four','example-upstream-key-four','four',X'E35781D9EA937E2FFEBCB16425202479C63721283E133D75DA32D8C62E9005A5',1,-5,1,'[]','invalid','api_key_invalid',400,'API key not valid. Please pass a valid API key.',1883205337288835660,1795964562699,NULL,1795965162699,1,24,0,0,0,0,0,0,NULL,NULL,1795964552510,NULL,24,1795964562691);
CREATE UNIQUE INDEX upstream_keys_by_fingerprint ON upstream_keys (fingerprint);
CREATE INDEX upstream_keys_by_project ON upstream_keys (project_id);
CREATE INDEX upstream_keys_removed ON upstream_keys (removed_at_ms) WHERE removed_at_ms IS NOT NULL;
CREATE INDEX upstream_keys_by_revision ON upstream_keys (revision);
CREATE UNIQUE INDEX client_keys_by_hash ON client_keys (hash);
CREATE INDEX client_keys_by_revision ON client_keys (revision);
CREATE INDEX request_logs_by_client_key ON request_logs (client_key_id);
CREATE INDEX request_logs_by_client_ip ON request_logs (client_ip_id);
CREATE INDEX request_logs_by_model ON request_logs (model_id);
CREATE INDEX request_logs_unlike_success ON request_logs (outcome) WHERE outcome <> 'success';
CREATE INDEX request_logs_running ON request_logs (id) WHERE outcome IS NULL;
CREATE INDEX attempts_by_upstream_key ON attempts (upstream_key_id);
CREATE UNIQUE INDEX projects_by_number ON projects (number);
CREATE INDEX projects_by_revision ON projects (revision);
CREATE INDEX projects_merged ON projects (merged_into_id) WHERE merged_into_id IS NOT NULL;
CREATE INDEX sign_ins_by_admin ON sign_ins (admin_id);
CREATE INDEX request_logs_by_status ON request_logs (status) WHERE status <> 200;
CREATE INDEX request_logs_by_user_agent ON request_logs (user_agent_id);
CREATE INDEX request_logs_by_path ON request_logs (path_id);
CREATE INDEX request_logs_by_project ON request_logs (project_id);
CREATE INDEX request_logs_by_method ON request_logs (method) WHERE method <> 'POST';
CREATE INDEX request_logs_checks_by_id ON request_logs (id) WHERE kind = 'check';
CREATE INDEX request_logs_retried ON request_logs (id) WHERE attempts > 1;
CREATE INDEX request_logs_slow ON request_logs (id) WHERE duration_ms >= 10000 OR first_byte_ms >= 10000;
CREATE INDEX request_logs_with_error ON request_logs (id) WHERE error IS NOT NULL;
CREATE INDEX audit_log_by_subject ON audit_log (subject, subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX audit_log_by_name ON audit_log (subject, name) WHERE subject_id IS NULL;
CREATE INDEX audit_log_by_revision ON audit_log (revision);
CREATE INDEX request_logs_checks ON request_logs (upstream_key_id) WHERE kind = 'check';
CREATE UNIQUE INDEX audit_acts_by_revision ON audit_acts (revision, subject, action) WHERE revision > 0;
CREATE INDEX audit_acts_by_actor ON audit_acts (actor, id, action, subject);
CREATE INDEX audit_acts_by_action ON audit_acts (action, id, subject, actor);
CREATE INDEX audit_acts_by_subject ON audit_acts (subject, id, action, actor);
CREATE INDEX audit_acts_by_time ON audit_acts (at_ms);
CREATE TRIGGER audit_log_to_acts AFTER INSERT ON audit_log
BEGIN
    INSERT INTO audit_acts (id, at_ms, revision, actor, subject, action, changes)
    VALUES (new.id, new.at_ms, new.revision, new.actor, new.subject, new.action, 1)
    ON CONFLICT (revision, subject, action) WHERE revision > 0 DO UPDATE
    SET changes = changes + 1;
END;
CREATE INDEX resources_by_expiry ON resources (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
CREATE INDEX resources_by_client_key ON resources (client_key_id, kind, upstream_key_id);
CREATE INDEX resources_by_age ON resources (client_key_id, created_at_ms);
CREATE INDEX resources_by_upstream_key ON resources (upstream_key_id, kind);
CREATE INDEX upload_sessions_by_expiry ON upload_sessions (expires_at_ms);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('sign_ins',2);
COMMIT;
