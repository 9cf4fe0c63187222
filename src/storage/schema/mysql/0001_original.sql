-- The tables as the original has them, with their widths and their lack of unique keys, so that a
-- database which the original filled and a new one go the same way from here. IMTransmitFile is
-- used by the original and stands in none of its files.
-- {n} stands for 0 to 7.

create table if not exists IMAdmin (
    `id` mediumint(6) unsigned not null auto_increment,
    `uname` varchar(40) not null,
    `pwd` char(32) not null,
    `status` tinyint(3) unsigned not null default '0',
    `created` int(11) unsigned not null default '0',
    `updated` int(11) unsigned not null default '0',
    primary key (`id`)
) engine=InnoDB default charset=utf8;

create table if not exists IMAudio (
    `id` int(11) not null auto_increment,
    `fromId` int(11) unsigned not null,
    `toId` int(11) unsigned not null,
    `path` varchar(255) null default '',
    `size` int(11) unsigned not null default '0',
    `duration` int(11) unsigned not null default '0',
    `created` int(11) unsigned not null,
    primary key (`id`),
    key idx_fromId_toId (fromId, toId)
) engine=InnoDB default charset=utf8mb4 collate utf8mb4_bin;

create table if not exists IMDepart (
    `id` int(11) unsigned not null auto_increment,
    `departName` varchar(64) not null default '',
    `priority` int(11) unsigned not null default '0',
    `parentId` int(11) unsigned not null,
    `status` int(11) unsigned not null default '0',
    `created` int(11) unsigned not null,
    `updated` int(11) unsigned not null,
    primary key (`id`),
    key idx_departName (departName),
    key idx_priority_status (priority, status)
) engine=InnoDB default charset=utf8mb4 collate utf8mb4_bin;

create table if not exists IMDiscovery (
    `id` int(11) unsigned not null auto_increment,
    `itemName` varchar(64) not null default '',
    `itemUrl` varchar(64) not null default '',
    `itemPriority` int(11) unsigned not null,
    `status` int(11) unsigned not null default '0',
    `created` int(11) unsigned not null,
    `updated` int(11) unsigned not null,
    primary key (`id`),
    key idx_itemName (itemName)
) engine=InnoDB default charset=utf8mb4 collate utf8mb4_bin;

create table if not exists IMGroup (
    `id` int(11) not null auto_increment,
    `name` varchar(256) not null default '',
    `avatar` varchar(256) not null default '',
    `creator` int(11) unsigned not null default '0',
    `type` tinyint(3) unsigned not null default '1',
    `userCnt` int(11) unsigned not null default '0',
    `status` tinyint(3) unsigned not null default '1',
    `version` int(11) unsigned not null default '1',
    `lastChated` int(11) unsigned not null default '0',
    `updated` int(11) unsigned not null default '0',
    `created` int(11) unsigned not null default '0',
    primary key (`id`),
    key idx_name (name(191)),
    key idx_creator (creator)
) engine=InnoDB default charset=utf8mb4 collate utf8mb4_bin;

create table if not exists IMGroupMember (
    `id` int(11) not null auto_increment,
    `groupId` int(11) unsigned not null,
    `userId` int(11) unsigned not null,
    `status` tinyint(3) unsigned not null default '1',
    `created` int(11) unsigned not null default '0',
    `updated` int(11) unsigned not null default '0',
    primary key (`id`),
    key idx_groupId_userId_status (groupId, userId, status),
    key idx_userId_status_updated (userId, status, updated),
    key idx_groupId_updated (groupId, updated)
) engine=InnoDB default charset=utf8;

create table if not exists IMGroupMessage_{n} (
    `id` int(11) not null auto_increment,
    `groupId` int(11) unsigned not null,
    `userId` int(11) unsigned not null,
    `msgId` int(11) unsigned not null,
    `content` varchar(4096) not null default '',
    `type` tinyint(3) unsigned not null default '2',
    `status` int(11) unsigned not null default '0',
    `updated` int(11) unsigned not null default '0',
    `created` int(11) unsigned not null default '0',
    primary key (`id`),
    key idx_groupId_status_created (groupId, status, created),
    key idx_groupId_msgId_status_created (groupId, msgId, status, created)
) engine=InnoDB default charset=utf8mb4 collate utf8mb4_bin;

create table if not exists IMMessage_{n} (
    `id` int(11) not null auto_increment,
    `relateId` int(11) unsigned not null,
    `fromId` int(11) unsigned not null,
    `toId` int(11) unsigned not null,
    `msgId` int(11) unsigned not null,
    `content` varchar(4096) null default '',
    `type` tinyint(3) unsigned not null default '1',
    `status` tinyint(3) unsigned not null default '0',
    `updated` int(11) unsigned not null,
    `created` int(11) unsigned not null,
    primary key (`id`),
    key idx_relateId_status_created (relateId, status, created),
    key idx_relateId_status_msgId_created (relateId, status, msgId, created),
    key idx_fromId_toId_created (fromId, toId, status)
) engine=InnoDB default charset=utf8mb4 collate utf8mb4_bin;

create table if not exists IMRecentSession (
    `id` int(11) not null auto_increment,
    `userId` int(11) unsigned not null,
    `peerId` int(11) unsigned not null,
    `type` tinyint(3) unsigned null default '0',
    `status` tinyint(3) unsigned null default '0',
    `created` int(11) unsigned not null default '0',
    `updated` int(11) unsigned not null default '0',
    primary key (`id`),
    key idx_userId_peerId_status_updated (userId, peerId, status, updated),
    key idx_userId_peerId_type (userId, peerId, type)
) engine=InnoDB default charset=utf8;

create table if not exists IMRelationShip (
    `id` int(11) not null auto_increment,
    `smallId` int(11) unsigned not null,
    `bigId` int(11) unsigned not null,
    `status` tinyint(3) unsigned null default '0',
    `created` int(11) unsigned not null default '0',
    `updated` int(11) unsigned not null default '0',
    primary key (`id`),
    key idx_smallId_bigId_status_updated (smallId, bigId, status, updated)
) engine=InnoDB default charset=utf8;

create table if not exists IMTransmitFile (
    `id` int(11) not null auto_increment,
    `fromId` int(11) unsigned not null,
    `toId` int(11) unsigned not null,
    `fileName` varchar(4096) not null,
    `taskId` varchar(128) not null,
    `size` int(11) unsigned not null default '0',
    `status` tinyint(3) unsigned not null default '0',
    `updated` int(11) unsigned not null,
    `created` int(11) unsigned not null,
    primary key (`id`),
    key idx_fromId_toId_created (fromId, toId, status)
) engine=InnoDB default charset=utf8mb4 collate utf8mb4_bin;

create table if not exists IMUser (
    `id` int(11) unsigned not null auto_increment,
    `sex` tinyint(3) unsigned not null default '0',
    `name` varchar(32) not null default '',
    `domain` varchar(32) not null default '',
    `nick` varchar(32) not null default '',
    `password` varchar(32) not null default '',
    `salt` varchar(4) not null default '',
    `phone` varchar(11) not null default '',
    `email` varchar(64) not null default '',
    `avatar` varchar(255) null default '',
    `departId` int(11) unsigned not null,
    `status` tinyint(3) unsigned null default '0',
    `created` int(11) unsigned not null,
    `updated` int(11) unsigned not null,
    `push_shield_status` tinyint(3) unsigned not null default '0',
    `sign_info` varchar(128) not null default '',
    primary key (`id`),
    key idx_domain (domain),
    key idx_name (name),
    key idx_phone (phone)
) engine=InnoDB default charset=utf8mb4 collate utf8mb4_bin;
