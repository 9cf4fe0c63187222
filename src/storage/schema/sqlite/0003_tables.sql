-- The tables as the migrations of the other driver leave them: the original never wrote to a file
-- of this kind, so there is nothing older to begin with. Names of indexes begin with the table,
-- because they are global here. The constraints do what column types do there: values that do not
-- fit are refused, and the name of the constraint tells which column and why. `length` counts
-- characters up to the first NUL, hence the second limit.
-- {n} stands for 0 to 7.

create table if not exists IMAdmin (
    `id` integer primary key,
    `uname` text not null
        constraint too_long_uname
        check (length(`uname`) <= 40 and octet_length(`uname`) <= 160),
    `pwd` text not null
        constraint too_long_pwd
        check (length(`pwd`) <= 32 and octet_length(`pwd`) <= 128),
    `status` integer not null default 0
        constraint out_of_range_status check (`status` between 0 and 255),
    `created` integer not null default 0
        constraint out_of_range_created check (`created` between 0 and 4294967295),
    `updated` integer not null default 0
        constraint out_of_range_updated check (`updated` between 0 and 4294967295)
) strict;

create table if not exists IMAudio (
    `id` integer primary key,
    `fromId` integer not null
        constraint out_of_range_fromId check (`fromId` between 0 and 4294967295),
    `toId` integer not null
        constraint out_of_range_toId check (`toId` between 0 and 4294967295),
    `path` text null default ''
        constraint too_long_path
        check (length(`path`) <= 255 and octet_length(`path`) <= 1020),
    `size` integer not null default 0
        constraint out_of_range_size check (`size` between 0 and 4294967295),
    `duration` integer not null default 0
        constraint out_of_range_duration check (`duration` between 0 and 4294967295),
    `created` integer not null
        constraint out_of_range_created check (`created` between 0 and 4294967295)
) strict;
create index if not exists IMAudio_idx_fromId_toId
    on IMAudio (fromId, toId);

create table if not exists IMDepart (
    `id` integer primary key,
    `departName` text not null default ''
        constraint too_long_departName
        check (length(`departName`) <= 64 and octet_length(`departName`) <= 256),
    `priority` integer not null default 0
        constraint out_of_range_priority check (`priority` between 0 and 4294967295),
    `parentId` integer not null
        constraint out_of_range_parentId check (`parentId` between 0 and 4294967295),
    `status` integer not null default 0
        constraint out_of_range_status check (`status` between 0 and 4294967295),
    `created` integer not null
        constraint out_of_range_created check (`created` between 0 and 4294967295),
    `updated` integer not null
        constraint out_of_range_updated check (`updated` between 0 and 4294967295)
) strict;
create index if not exists IMDepart_idx_departName
    on IMDepart (departName);
create index if not exists IMDepart_idx_priority_status
    on IMDepart (priority, status);
create index if not exists IMDepart_idx_updated
    on IMDepart (updated);

create table if not exists IMDiscovery (
    `id` integer primary key,
    `itemName` text not null default ''
        constraint too_long_itemName
        check (length(`itemName`) <= 64 and octet_length(`itemName`) <= 256),
    `itemUrl` text not null default ''
        constraint too_long_itemUrl
        check (length(`itemUrl`) <= 64 and octet_length(`itemUrl`) <= 256),
    `itemPriority` integer not null
        constraint out_of_range_itemPriority check (`itemPriority` between 0 and 4294967295),
    `status` integer not null default 0
        constraint out_of_range_status check (`status` between 0 and 4294967295),
    `created` integer not null
        constraint out_of_range_created check (`created` between 0 and 4294967295),
    `updated` integer not null
        constraint out_of_range_updated check (`updated` between 0 and 4294967295)
) strict;
create index if not exists IMDiscovery_idx_itemName
    on IMDiscovery (itemName);

create table if not exists IMGroup (
    `id` integer primary key,
    `name` text not null default ''
        constraint too_long_name
        check (length(`name`) <= 256 and octet_length(`name`) <= 1024),
    `avatar` text not null default ''
        constraint too_long_avatar
        check (length(`avatar`) <= 256 and octet_length(`avatar`) <= 1024),
    `creator` integer not null default 0
        constraint out_of_range_creator check (`creator` between 0 and 4294967295),
    `type` integer not null default 1
        constraint out_of_range_type check (`type` between 0 and 255),
    `userCnt` integer not null default 0
        constraint out_of_range_userCnt check (`userCnt` between 0 and 4294967295),
    `status` integer not null default 1
        constraint out_of_range_status check (`status` between 0 and 255),
    `version` integer not null default 1
        constraint out_of_range_version check (`version` between 0 and 4294967295),
    `lastChated` integer not null default 0
        constraint out_of_range_lastChated check (`lastChated` between 0 and 4294967295),
    `updated` integer not null default 0
        constraint out_of_range_updated check (`updated` between 0 and 4294967295),
    `created` integer not null default 0
        constraint out_of_range_created check (`created` between 0 and 4294967295)
) strict;
create index if not exists IMGroup_idx_name
    on IMGroup (name);
create index if not exists IMGroup_idx_creator
    on IMGroup (creator);
create index if not exists IMGroup_idx_lastChated
    on IMGroup (lastChated);

create table if not exists IMGroupMember (
    `id` integer primary key,
    `groupId` integer not null
        constraint out_of_range_groupId check (`groupId` between 0 and 4294967295),
    `userId` integer not null
        constraint out_of_range_userId check (`userId` between 0 and 4294967295),
    `status` integer not null default 1
        constraint out_of_range_status check (`status` between 0 and 255),
    `created` integer not null default 0
        constraint out_of_range_created check (`created` between 0 and 4294967295),
    `updated` integer not null default 0
        constraint out_of_range_updated check (`updated` between 0 and 4294967295)
) strict;
create index if not exists IMGroupMember_idx_groupId_userId_status
    on IMGroupMember (groupId, userId, status);
create index if not exists IMGroupMember_idx_userId_status_updated
    on IMGroupMember (userId, status, updated);
create index if not exists IMGroupMember_idx_groupId_updated
    on IMGroupMember (groupId, updated);
create unique index if not exists IMGroupMember_uk_groupId_userId
    on IMGroupMember (groupId, userId);

create table if not exists IMGroupMessage_{n} (
    `id` integer primary key,
    `groupId` integer not null
        constraint out_of_range_groupId check (`groupId` between 0 and 4294967295),
    `userId` integer not null
        constraint out_of_range_userId check (`userId` between 0 and 4294967295),
    `msgId` integer not null
        constraint out_of_range_msgId check (`msgId` between 0 and 4294967295),
    `content` text not null default ''
        constraint too_long_content check (octet_length(`content`) <= 16777215),
    `type` integer not null default 2
        constraint out_of_range_type check (`type` between 0 and 255),
    `status` integer not null default 0
        constraint out_of_range_status check (`status` between 0 and 4294967295),
    `updated` integer not null default 0
        constraint out_of_range_updated check (`updated` between 0 and 4294967295),
    `created` integer not null default 0
        constraint out_of_range_created check (`created` between 0 and 4294967295)
) strict;
create index if not exists IMGroupMessage_{n}_idx_groupId_status_created
    on IMGroupMessage_{n} (groupId, status, created);
create unique index if not exists IMGroupMessage_{n}_uk_groupId_msgId
    on IMGroupMessage_{n} (groupId, msgId);

create table if not exists IMMessage_{n} (
    `id` integer primary key,
    `relateId` integer not null
        constraint out_of_range_relateId check (`relateId` between 0 and 4294967295),
    `fromId` integer not null
        constraint out_of_range_fromId check (`fromId` between 0 and 4294967295),
    `toId` integer not null
        constraint out_of_range_toId check (`toId` between 0 and 4294967295),
    `msgId` integer not null
        constraint out_of_range_msgId check (`msgId` between 0 and 4294967295),
    `content` text null default ''
        constraint too_long_content check (octet_length(`content`) <= 16777215),
    `type` integer not null default 1
        constraint out_of_range_type check (`type` between 0 and 255),
    `status` integer not null default 0
        constraint out_of_range_status check (`status` between 0 and 255),
    `updated` integer not null
        constraint out_of_range_updated check (`updated` between 0 and 4294967295),
    `created` integer not null
        constraint out_of_range_created check (`created` between 0 and 4294967295)
) strict;
create index if not exists IMMessage_{n}_idx_relateId_status_created
    on IMMessage_{n} (relateId, status, created);
create unique index if not exists IMMessage_{n}_uk_relateId_msgId
    on IMMessage_{n} (relateId, msgId);

create table if not exists IMRecentSession (
    `id` integer primary key,
    `userId` integer not null
        constraint out_of_range_userId check (`userId` between 0 and 4294967295),
    `peerId` integer not null
        constraint out_of_range_peerId check (`peerId` between 0 and 4294967295),
    `type` integer null default 0
        constraint out_of_range_type check (`type` between 0 and 255),
    `status` integer null default 0
        constraint out_of_range_status check (`status` between 0 and 255),
    `created` integer not null default 0
        constraint out_of_range_created check (`created` between 0 and 4294967295),
    `updated` integer not null default 0
        constraint out_of_range_updated check (`updated` between 0 and 4294967295)
) strict;
create unique index if not exists IMRecentSession_uk_userId_peerId_type
    on IMRecentSession (userId, peerId, type);
create index if not exists IMRecentSession_idx_userId_status_updated
    on IMRecentSession (userId, status, updated);

create table if not exists IMRelationShip (
    `id` integer primary key,
    `smallId` integer not null
        constraint out_of_range_smallId check (`smallId` between 0 and 4294967295),
    `bigId` integer not null
        constraint out_of_range_bigId check (`bigId` between 0 and 4294967295),
    `status` integer null default 0
        constraint out_of_range_status check (`status` between 0 and 255),
    `created` integer not null default 0
        constraint out_of_range_created check (`created` between 0 and 4294967295),
    `updated` integer not null default 0
        constraint out_of_range_updated check (`updated` between 0 and 4294967295)
) strict;
create index if not exists IMRelationShip_idx_smallId_bigId_status_updated
    on IMRelationShip (smallId, bigId, status, updated);
create unique index if not exists IMRelationShip_uk_smallId_bigId
    on IMRelationShip (smallId, bigId);

create table if not exists IMTransmitFile (
    `id` integer primary key,
    `fromId` integer not null
        constraint out_of_range_fromId check (`fromId` between 0 and 4294967295),
    `toId` integer not null
        constraint out_of_range_toId check (`toId` between 0 and 4294967295),
    `fileName` text not null
        constraint too_long_fileName
        check (length(`fileName`) <= 4096 and octet_length(`fileName`) <= 16384),
    `taskId` text not null
        constraint too_long_taskId
        check (length(`taskId`) <= 128 and octet_length(`taskId`) <= 512),
    `size` integer not null default 0
        constraint out_of_range_size check (`size` between 0 and 4294967295),
    `status` integer not null default 0
        constraint out_of_range_status check (`status` between 0 and 255),
    `updated` integer not null
        constraint out_of_range_updated check (`updated` between 0 and 4294967295),
    `created` integer not null
        constraint out_of_range_created check (`created` between 0 and 4294967295)
) strict;
create index if not exists IMTransmitFile_idx_fromId_toId_created
    on IMTransmitFile (fromId, toId, status);
create index if not exists IMTransmitFile_idx_toId_status_created
    on IMTransmitFile (toId, status, created);

create table if not exists IMUser (
    `id` integer primary key,
    `sex` integer not null default 0
        constraint out_of_range_sex check (`sex` between 0 and 255),
    `name` text not null default ''
        constraint too_long_name
        check (length(`name`) <= 64 and octet_length(`name`) <= 256),
    `domain` text not null default ''
        constraint too_long_domain
        check (length(`domain`) <= 32 and octet_length(`domain`) <= 128),
    `nick` text not null default ''
        constraint too_long_nick
        check (length(`nick`) <= 32 and octet_length(`nick`) <= 128),
    `password` text not null default ''
        constraint too_long_password
        check (length(`password`) <= 32 and octet_length(`password`) <= 128),
    `salt` text not null default ''
        constraint too_long_salt
        check (length(`salt`) <= 4 and octet_length(`salt`) <= 16),
    `phone` text not null default ''
        constraint too_long_phone
        check (length(`phone`) <= 32 and octet_length(`phone`) <= 128),
    `email` text not null default ''
        constraint too_long_email
        check (length(`email`) <= 64 and octet_length(`email`) <= 256),
    `avatar` text null default ''
        constraint too_long_avatar
        check (length(`avatar`) <= 255 and octet_length(`avatar`) <= 1020),
    `departId` integer not null
        constraint out_of_range_departId check (`departId` between 0 and 4294967295),
    `status` integer null default 0
        constraint out_of_range_status check (`status` between 0 and 255),
    `created` integer not null
        constraint out_of_range_created check (`created` between 0 and 4294967295),
    `updated` integer not null
        constraint out_of_range_updated check (`updated` between 0 and 4294967295),
    `push_shield_status` integer not null default 0
        constraint out_of_range_push_shield_status check (`push_shield_status` between 0 and 255),
    `sign_info` text not null default ''
        constraint too_long_sign_info
        check (length(`sign_info`) <= 128 and octet_length(`sign_info`) <= 512)
) strict;
create index if not exists IMUser_idx_domain
    on IMUser (domain);
create index if not exists IMUser_idx_name
    on IMUser (name);
create index if not exists IMUser_idx_phone
    on IMUser (phone);
create unique index if not exists IMUser_uk_name
    on IMUser (name);
create index if not exists IMUser_idx_updated
    on IMUser (updated);
